#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/mutex.h"

namespace finetune {

// The refusal of a caller's own limit: RESOURCE_EXHAUSTED / CLIENT_QUOTA_EXCEEDED with QuotaFailure
// and RetryInfo. `metric` is as in QuotaUse.
absl::Status QuotaExceeded(std::string_view caller, std::string_view metric,
                           const std::string& limit, absl::Duration retry_after);

// The same for one caller and metric, kept ready, because a caller that is refused is often refused
// again at once, and that should cost little. Thread-safe.
class ReadyQuotaRefusal {
 public:
  // Returns copies of one status while limit and time stay the same.
  absl::Status Get(std::string_view caller, std::string_view metric, const std::string& limit,
                   absl::Duration retry_after) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Mutex mu_;
  std::string limit_ ABSL_GUARDED_BY(mu_);
  absl::Duration retry_after_ ABSL_GUARDED_BY(mu_);
  absl::Status status_ ABSL_GUARDED_BY(mu_);  // OK: none yet.
};

}  // namespace finetune
