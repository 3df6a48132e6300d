#include "server/jobs/submission/spending_limits.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/base/quota.h"

namespace finetune {

absl::Status CheckSpending(const std::string& caller, const Spending& spending,
                           const SpendingLimits& limits, absl::Time now) {
  if (limits.creates_per_day && spending.creates.count >= *limits.creates_per_day) {
    const absl::Duration until_free = spending.creates.oldest + kSpendingWindow - now;
    return QuotaExceeded(caller, "creates_per_day", absl::StrCat(*limits.creates_per_day),
                         std::clamp(until_free, absl::Seconds(1), kSpendingWindow));
  }
  if (limits.active_jobs && spending.active_jobs >= *limits.active_jobs) {
    return QuotaExceeded(caller, "active_jobs", absl::StrCat(*limits.active_jobs),
                         absl::Minutes(1));
  }
  return absl::OkStatus();
}

absl::Status CheckSpendingOf(Draft& draft, const std::string& caller,
                             const SpendingLimits& limits) {
  if (!limits.any()) return absl::OkStatus();
  auto spending = draft.SpendingOf(caller);
  if (!spending.ok()) return spending.status();
  return CheckSpending(caller, *spending, limits, draft.now());
}

}  // namespace finetune
