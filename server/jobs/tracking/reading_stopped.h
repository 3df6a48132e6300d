#pragma once

#include "absl/status/status.h"
#include "server/base/error.h"

namespace finetune {

// What calls that wait for a read of Segmind end with when the gateway stops.
inline absl::Status ReadingStopped() {
  return Error(absl::StatusCode::kCancelled, pb::ErrorReason::SERVER_DRAINING,
               "the gateway is stopping");
}

}  // namespace finetune
