#pragma once

#include "absl/status/status.h"
#include "server/base/error.h"

namespace finetune {

// The answer to a call that this server cannot finish because it is stopping.
inline absl::Status Draining() {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::SERVER_DRAINING,
               "this server is going away; use another")
      .RetryAfter(absl::Milliseconds(500));
}

}  // namespace finetune
