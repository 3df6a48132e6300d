#include "server/base/quota.h"

#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace finetune {

absl::Status QuotaExceeded(std::string_view caller, std::string_view metric,
                           const std::string& limit, absl::Duration retry_after) {
  const std::string name(metric);
  return Error(absl::StatusCode::kResourceExhausted, pb::ErrorReason::CLIENT_QUOTA_EXCEEDED,
               absl::StrCat("your limit is reached: ", name, " ", limit))
      .Metadata("metric", name)
      .Metadata("limit", limit)
      .Quota(absl::StrCat("caller:", std::string(caller)), absl::StrCat(name, ": at most ", limit))
      .RetryAfter(retry_after);
}

absl::Status ReadyQuotaRefusal::Get(std::string_view caller, std::string_view metric,
                                    const std::string& limit, absl::Duration retry_after) {
  MutexLock lock(mu_);
  if (status_.ok() || limit != limit_ || retry_after != retry_after_) {
    limit_ = limit;
    retry_after_ = retry_after;
    status_ = QuotaExceeded(caller, metric, limit, retry_after);
  }
  return status_;
}

}  // namespace finetune
