#pragma once

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/access/caller.h"
#include "server/base/fair_share.h"
#include "server/base/mutex.h"
#include "server/base/quota.h"

namespace finetune {

// What one caller is doing over all its connections: its calls in the last second and, as a Sharer,
// what it holds of what all callers share. Thread-safe; shared by the calls that it counts.
class CallerUse : public Sharer {
 public:
  using Sharer::Sharer;

  // Counts one call. RESOURCE_EXHAUSTED / CLIENT_QUOTA_EXCEEDED beyond the limit, with the time
  // until the next call may come, in whole milliseconds.
  absl::Status TakeCall(const Caller& caller, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

  // How many calls of the burst that is allowed are used.
  int64_t calls_used(double calls_per_second, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  double TokensAt(double rate, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Mutex mu_;
  // A bucket that fills at the rate; full at first.
  double tokens_ ABSL_GUARDED_BY(mu_) = -1;
  absl::Time filled_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();

  ReadyQuotaRefusal refusal_;
};

}  // namespace finetune
