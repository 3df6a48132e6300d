#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/call_budget.h"
#include "server/base/cancellation.h"
#include "server/base/clock.h"
#include "server/base/fair_share.h"
#include "server/base/mutex.h"
#include "server/segmind/made_calls.h"
#include "server/segmind/turn_order.h"

namespace finetune {

// Keeps the account's rate limit: at most this many calls in any minute. A fifth of them is kept
// for submissions and a tenth for the gateway's own reads; the rest goes to any caller that asks
// but, once three quarters of what callers may use is used, only to those that had less than an
// eighth. Of the calls that wait, submissions go first, then other calls that a caller waits for,
// then the gateway's own; among the first two, the caller that made the fewest calls goes first. If
// other processes make calls, too, theirs count like its own, and each call asks what they share
// (CallBudget) when its turn has come. Thread-safe; owned by UpstreamExchange; `clock` outlives it.
// Timers hold it weakly, so it must be made by Make.
class RateLimiter : public std::enable_shared_from_this<RateLimiter> {
 public:
  using Priority = CallPriority;
  // With OK the call must be made at once. Runs exactly once, with no lock held, on the caller's
  // thread (even within Acquire) or the clock's.
  using Granted = absl::AnyInvocable<void(absl::Status) &&>;

  // `refusals`, which may be null, counts whom it refused; `budget` is null if no other process
  // makes calls. Both outlive it.
  static std::shared_ptr<RateLimiter> Make(int calls_per_minute, Clock& clock,
                                           ShareRefusals* refusals = nullptr,
                                           CallBudget* budget = nullptr);

  // Waits its turn. `sharer`: on whose behalf; null for the gateway's own. RESOURCE_EXHAUSTED /
  // UPSTREAM_RATE_LIMITED with RetryInfo as soon as it is known that the turn will not come before
  // `deadline`, or if too many wait; CANCELLED after Shutdown, and once `cancellation` (which may
  // be null) says so, because no call should wait behind one that nobody waits for. UNAVAILABLE /
  // STORE_UNAVAILABLE if it cannot be found out whether other processes leave room.
  void Acquire(Priority priority, std::shared_ptr<Sharer> sharer, absl::Time deadline,
               const std::shared_ptr<const Cancellation>& cancellation, Granted granted)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Segmind said that it takes no call before `time`.
  void HoldUntil(absl::Time time) ABSL_LOCKS_EXCLUDED(mu_);

  // How many calls could be made right now if none were waiting.
  int calls_left() const ABSL_LOCKS_EXCLUDED(mu_);

  // Ends all that wait. Idempotent.
  void Shutdown() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  static constexpr int kPriorities = 3;
  using Want = CallWant;
  struct WaitingCall {
    Want want;
    absl::Time deadline;
    std::shared_ptr<const Cancellation> cancellation;
    Granted granted;
  };
  // What to call once the lock is released.
  using Ready = std::deque<std::pair<Granted, absl::Status>>;

  RateLimiter(int calls_per_minute, Clock& clock, ShareRefusals* refusals, CallBudget* budget);

  void Pump() ABSL_LOCKS_EXCLUDED(mu_);
  void Grant(size_t waiter, absl::Time now, Ready& ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Expire(absl::Time now, Ready& ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What is to be asked of the budget, if anything is.
  std::optional<Priority> NextToAsk(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnBudget(const absl::StatusOr<CallBudget::Answer>& answer) ABSL_LOCKS_EXCLUDED(mu_);
  // What all processes have made takes the place of what was known of it.
  void TakePicture(const CallBudget::Picture& picture) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DropCancelled() ABSL_LOCKS_EXCLUDED(mu_);
  void ForgetOld(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ArmTimer(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The number of the waiter whose turn it is.
  std::optional<size_t> NextInTurn(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Calls of the last minute.
  size_t MadeIn(CallGroup group) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return made_.In(group).size();
  }
  size_t MadeBy(const std::shared_ptr<Sharer>& sharer) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return made_.By(sharer.get()).size();
  }
  bool MayGoNow(const Want& want) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::vector<const Want*> Waiting() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // When it is the turn of the one that came last.
  absl::Time TurnOfLast(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // When `want` may be made that has `ahead` before it.
  absl::Time TurnOf(const Want& want, const CallsAhead& ahead, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The same by the account's bounds, whoever calls.
  absl::Time TurnWithinLimits(Priority priority, const CallsAhead& ahead, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The same by one bound: at most `budget` of those that it concerns in a minute. `made` and
  // `ahead` are of these.
  absl::Time TurnWithin(size_t budget, const MadeCalls::Times& made, size_t ahead,
                        absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Time TurnWithin(size_t budget, CallGroup group, const CallsAhead& ahead,
                        absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return TurnWithin(budget, made_.In(group), ahead.In(group), now);
  }
  bool IsFull(const Want& want) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status TooLong(const Want& want, absl::Time turn, absl::Time now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  const size_t limit_;
  const size_t kept_for_submits_;
  const size_t kept_for_own_;
  // What one caller may have of a minute when it is scarce, and from when it is.
  const size_t share_;
  const size_t scarce_;
  Clock& clock_;
  ShareRefusals* const refusals_;
  CallBudget* const budget_;

  mutable Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  absl::Time hold_until_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  // The budget is being asked; and it is not asked again before.
  bool asking_ ABSL_GUARDED_BY(mu_) = false;
  absl::Time ask_at_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  MadeCalls made_ ABSL_GUARDED_BY(mu_);                   // In the last minute.
  std::deque<WaitingCall> waiters_ ABSL_GUARDED_BY(mu_);  // In the order of their coming.
  absl::Time armed_for_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  uint64_t timer_ ABSL_GUARDED_BY(mu_) = 0;  // The number of the only timer that counts.
};

}  // namespace finetune
