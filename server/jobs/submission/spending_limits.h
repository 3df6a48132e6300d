#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/jobs/record/draft.h"

namespace finetune {

// How much a caller may spend; not limited where absent.
struct SpendingLimits {
  std::optional<int64_t> creates_per_day;
  std::optional<int64_t> active_jobs;

  bool any() const { return creates_per_day || active_jobs; }
};

// Whether a caller that has spent so much may have one more job. CLIENT_QUOTA_EXCEEDED.
absl::Status CheckSpending(const std::string& caller, const Spending& spending,
                           const SpendingLimits& limits, absl::Time now);

// The same by the record. What cannot be counted is refused.
absl::Status CheckSpendingOf(Draft& draft, const std::string& caller, const SpendingLimits& limits);

}  // namespace finetune
