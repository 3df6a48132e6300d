#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace finetune {

// How a caller's own limit refuses: RESOURCE_EXHAUSTED / CLIENT_QUOTA_EXCEEDED with QuotaFailure
// and RetryInfo. `metric` as in QuotaUse.
absl::Status QuotaExceeded(std::string_view caller, std::string_view metric,
                           const std::string& limit, absl::Duration retry_after);

}  // namespace finetune
