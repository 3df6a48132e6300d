// The order of a job's states.
#pragma once

#include <segmind/finetune/v1/fine_tune.pb.h>

namespace finetune::inline client {

// AVAILABLE, FAILED, LOST and CANCELLED. A state that this build does not know is not terminal.
inline bool IsTerminal(::segmind::finetune::v1::FineTune::State state) {
  using FineTune = ::segmind::finetune::v1::FineTune;
  return state == FineTune::AVAILABLE || state == FineTune::FAILED || state == FineTune::LOST ||
         state == FineTune::CANCELLED;
}

// Whether a job in `state` has reached `wanted`, itself or a later stage of success.
inline bool HasReached(::segmind::finetune::v1::FineTune::State state,
                       ::segmind::finetune::v1::FineTune::State wanted) {
  using FineTune = ::segmind::finetune::v1::FineTune;
  if (state == wanted) return true;
  return wanted != FineTune::SUBMIT_UNKNOWN && wanted < state && state <= FineTune::AVAILABLE;
}

}  // namespace finetune::inline client
