#pragma once

#include <array>
#include <deque>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"

namespace finetune {

// Keeps the account's rate limit: at most so many calls in any minute, first come first served,
// with those that somebody waits for before the gateway's own. Thread-safe; owned by SegmindClient;
// `clock` outlives it. Timers hold it weakly, so it must be made by Make.
class RateLimiter : public std::enable_shared_from_this<RateLimiter> {
 public:
  enum class Priority { kInteractive, kBackground };
  // With OK the call must be made at once. Runs exactly once, with no lock held, on the caller's
  // thread (even within Acquire) or the clock's.
  using Granted = absl::AnyInvocable<void(absl::Status) &&>;

  static std::shared_ptr<RateLimiter> Make(int calls_per_minute, Clock& clock);

  // Waits its turn. RESOURCE_EXHAUSTED / UPSTREAM_RATE_LIMITED with RetryInfo as soon as it is
  // known that the turn does not come before `deadline`; CANCELLED after Shutdown.
  void Acquire(Priority priority, absl::Time deadline, Granted granted) ABSL_LOCKS_EXCLUDED(mu_);

  // Segmind said that it takes no call before `time`.
  void HoldUntil(absl::Time time) ABSL_LOCKS_EXCLUDED(mu_);

  // Calls that could be made right now, those that wait not counted.
  int calls_left() const ABSL_LOCKS_EXCLUDED(mu_);

  // Ends all that wait. Idempotent.
  void Shutdown() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Waiter {
    absl::Time deadline;
    Granted granted;
  };
  // What to call once the lock is released.
  using Ready = std::deque<std::pair<Granted, absl::Status>>;

  RateLimiter(int calls_per_minute, Clock& clock);

  void Pump() ABSL_LOCKS_EXCLUDED(mu_);
  void GrantAndExpire(absl::Time now, Ready& ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetOld(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ArmTimer(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // When the call that has `ahead` others before it may be made.
  absl::Time TurnOf(size_t ahead, absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status TooLong(absl::Time turn, absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  const size_t limit_;
  Clock& clock_;

  mutable Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  absl::Time hold_until_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  std::deque<absl::Time> made_ ABSL_GUARDED_BY(mu_);  // In the last minute, oldest first.
  std::array<std::deque<Waiter>, 2> waiters_ ABSL_GUARDED_BY(mu_);  // By priority.
  absl::Time armed_for_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  uint64_t timer_ ABSL_GUARDED_BY(mu_) = 0;  // The number of the only timer that counts.
};

}  // namespace finetune
