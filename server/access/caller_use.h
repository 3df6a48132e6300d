#pragma once

#include <atomic>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/access/caller.h"
#include "server/base/mutex.h"

namespace finetune {

// What one caller does at the moment, over all its connections: calls in the last second and open
// streams. Thread-safe; shared by the calls that it counts.
class CallerUse {
 public:
  enum Slot { kWatcher, kTransfer };
  static constexpr int kSlots = 2;

  // Counts one call in. RESOURCE_EXHAUSTED / CLIENT_QUOTA_EXCEEDED, with the time until the next
  // one may come.
  absl::Status TakeCall(const Caller& caller, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

  // Counts a stream in; ReleaseSlot must follow unless this fails (as above).
  absl::Status TakeSlot(const Caller& caller, Slot slot);
  void ReleaseSlot(Slot slot) { --slots_[slot]; }

  int64_t slots_used(Slot slot) const { return slots_[slot]; }
  // Of what may come at once.
  int64_t calls_used(double calls_per_second, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  double TokensAt(double rate, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  std::atomic<int64_t> slots_[kSlots] = {};

  Mutex mu_;
  // A bucket that fills at the rate; full at first.
  double tokens_ ABSL_GUARDED_BY(mu_) = -1;
  absl::Time filled_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
};

}  // namespace finetune
