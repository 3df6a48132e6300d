#include "server/segmind/rate_limiter.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace finetune {
namespace {

// A little more than a minute, because calls take different times to travel.
constexpr absl::Duration kWindow = absl::Milliseconds(60'500);
// A call behind more than this many would wait for minutes.
constexpr size_t kMostWaiting = 256;
constexpr ptrdiff_t kMostWaitingOfOne = 64;
// Other processes were quicker; asking again at once would be too late again.
constexpr absl::Duration kAskAgainAfter = absl::Milliseconds(20);
// While the budget is being asked, a waiting call learns this soon that its deadline has passed.
constexpr absl::Duration kWhileAsking = absl::Milliseconds(100);

}  // namespace

std::shared_ptr<RateLimiter> RateLimiter::Make(int calls_per_minute, Clock& clock,
                                               ShareRefusals* refusals, CallBudget* budget) {
  std::shared_ptr<RateLimiter> limiter(new RateLimiter(calls_per_minute, clock, refusals, budget));
  if (budget == nullptr) return limiter;
  budget->Follow([weak = limiter->weak_from_this()](const CallBudget::Picture& picture) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    {
      MutexLock lock(self->mu_);
      self->TakePicture(picture);
    }
    self->Pump();
  });
  return limiter;
}

RateLimiter::RateLimiter(int calls_per_minute, Clock& clock, ShareRefusals* refusals,
                         CallBudget* budget)
    : limit_(std::max(calls_per_minute, 1)),
      kept_for_submits_(limit_ / 5),
      kept_for_own_(limit_ / 10),
      share_(std::max<size_t>(limit_ / 8, 1)),
      scarce_(std::max<size_t>((limit_ - kept_for_own_) * 3 / 4, 1)),
      clock_(clock),
      refusals_(refusals),
      budget_(budget) {}

void RateLimiter::Acquire(Priority priority, std::shared_ptr<Sharer> sharer, absl::Time deadline,
                          const std::shared_ptr<const Cancellation>& cancellation,
                          Granted granted) {
  const absl::Time now = clock_.Now();
  Want want{priority, std::move(sharer)};
  absl::Status refusal;
  Granted refused;
  {
    MutexLock lock(mu_);
    ForgetOld(now);
    if (refusals_ != nullptr && want.sharer != nullptr && MadeBy(want.sharer) == 0)
      refusals_->Know(*want.sharer);
    if (stopped_) {
      refusal = absl::CancelledError("the gateway is stopping");
      refused = std::move(granted);
    } else {
      const bool full = IsFull(want);
      waiters_.push_back({std::move(want), deadline, cancellation, nullptr});
      if (const absl::Time turn = TurnOfLast(now); full || turn > deadline) {
        refusal = TooLong(waiters_.back().want, turn, now);
        refused = std::move(granted);
        waiters_.pop_back();
      } else {
        waiters_.back().granted = std::move(granted);
      }
    }
  }
  if (refused) return std::move(refused)(refusal);
  if (cancellation != nullptr) {
    cancellation->OnCancelDo([weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->DropCancelled();
    });
  }
  Pump();
}

void RateLimiter::HoldUntil(absl::Time time) {
  {
    MutexLock lock(mu_);
    hold_until_ = std::max(hold_until_, time);
  }
  if (budget_ != nullptr) budget_->HoldUntil(time);
  // Calls whose deadline comes sooner need not wait for it.
  Pump();
}

int RateLimiter::calls_left() const {
  const absl::Time now = clock_.Now();
  MutexLock lock(mu_);
  if (now < hold_until_) return 0;
  const MadeCalls::Times& made = made_.In(CallGroup::kAll);
  const size_t used = made.end() - std::upper_bound(made.begin(), made.end(), now - kWindow);
  return used >= limit_ ? 0 : static_cast<int>(limit_ - used);
}

void RateLimiter::Shutdown() {
  if (budget_ != nullptr) budget_->Follow(nullptr);
  std::deque<WaitingCall> waiters;
  {
    MutexLock lock(mu_);
    stopped_ = true;
    waiters.swap(waiters_);
  }
  for (WaitingCall& waiter : waiters)
    std::move(waiter.granted)(absl::CancelledError("the gateway is stopping"));
}

void RateLimiter::Pump() {
  Ready ready;
  std::optional<Priority> ask;
  {
    const absl::Time now = clock_.Now();
    MutexLock lock(mu_);
    if (stopped_) return;
    ForgetOld(now);
    if (budget_ == nullptr) {
      while (const auto next = NextInTurn(now)) Grant(*next, now, ready);
    } else {
      ask = NextToAsk(now);
    }
    Expire(now, ready);
    ArmTimer(now);
  }
  for (auto& [granted, status] : ready) std::move(granted)(std::move(status));
  if (!ask) return;
  budget_->Ask(static_cast<int>(*ask),
               [weak = weak_from_this()](const absl::StatusOr<CallBudget::Answer>& answer) {
                 if (const auto self = weak.lock()) self->OnBudget(answer);
               });
}

std::optional<RateLimiter::Priority> RateLimiter::NextToAsk(absl::Time now) {
  if (asking_ || now < ask_at_) return std::nullopt;
  const auto next = NextInTurn(now);
  if (!next) return std::nullopt;
  asking_ = true;
  return waiters_[*next].want.priority;
}

// The budget's grant goes to the call whose turn it is by now, in case the one that asked is gone.
void RateLimiter::OnBudget(const absl::StatusOr<CallBudget::Answer>& answer) {
  Ready ready;
  {
    const absl::Time now = clock_.Now();
    MutexLock lock(mu_);
    asking_ = false;
    if (stopped_) return;
    if (!answer.ok()) {
      // They would wait in vain: others may use all calls meanwhile.
      for (WaitingCall& waiter : waiters_)
        ready.emplace_back(std::move(waiter.granted), answer.status());
      waiters_.clear();
    } else {
      if (!answer->granted) {
        ask_at_ = now + kAskAgainAfter;
      } else if (const auto next = NextInTurn(now)) {
        Grant(*next, now, ready);
        made_.SetLastId(*answer->granted);
      }
      TakePicture(answer->picture);
    }
  }
  for (auto& [granted, status] : ready) std::move(granted)(std::move(status));
  Pump();
}

void RateLimiter::TakePicture(const CallBudget::Picture& picture) {
  absl::flat_hash_map<uint64_t, std::shared_ptr<Sharer>> own;
  for (MadeCalls::Call& call : made_.Take()) own.try_emplace(call.id, std::move(call.want.sharer));
  for (const CallBudget::Call& call : picture.calls) {
    const int kind = std::clamp(call.kind, 0, kPriorities - 1);
    const auto known = own.find(call.id);
    made_.Add(
        {call.time,
         {static_cast<Priority>(kind), known == own.end() ? nullptr : std::move(known->second)},
         call.id});
  }
  hold_until_ = std::max(hold_until_, picture.hold_until);
}

// This brings nobody's turn forward: a call that may go now does not wait.
void RateLimiter::DropCancelled() {
  std::vector<Granted> dropped;
  {
    MutexLock lock(mu_);
    for (auto waiter = waiters_.begin(); waiter != waiters_.end();) {
      if (waiter->cancellation == nullptr || !waiter->cancellation->cancelled()) {
        ++waiter;
        continue;
      }
      dropped.push_back(std::move(waiter->granted));
      waiter = waiters_.erase(waiter);
    }
  }
  for (Granted& granted : dropped) std::move(granted)(absl::CancelledError("the caller is gone"));
}

void RateLimiter::Grant(size_t i, absl::Time now, Ready& ready) {
  WaitingCall& waiter = waiters_[i];
  ready.emplace_back(std::move(waiter.granted), absl::OkStatus());
  made_.Add({.time = now, .want = std::move(waiter.want)});
  waiters_.erase(waiters_.begin() + static_cast<ptrdiff_t>(i));
}

// Calls whose turn will not come in time learn that now.
void RateLimiter::Expire(absl::Time now, Ready& ready) {
  if (waiters_.empty()) return;
  std::vector<size_t> late;
  const std::vector<const Want*> waiting = Waiting();
  TurnOrder order(waiting, made_);
  while (const auto i = order.Next()) {
    WaitingCall& waiter = waiters_[*i];
    const absl::Time turn = TurnOf(waiter.want, order.Ahead(), now);
    if (waiter.deadline >= turn && waiter.deadline >= now) {
      order.Keep();
      continue;
    }
    ready.emplace_back(std::move(waiter.granted), TooLong(waiter.want, turn, now));
    late.push_back(*i);
  }
  std::sort(late.begin(), late.end(), std::greater<>());
  for (const size_t i : late) waiters_.erase(waiters_.begin() + static_cast<ptrdiff_t>(i));
}

std::vector<const RateLimiter::Want*> RateLimiter::Waiting() const {
  std::vector<const Want*> waiting;
  waiting.reserve(waiters_.size());
  for (const WaitingCall& waiter : waiters_) waiting.push_back(&waiter.want);
  return waiting;
}

std::optional<size_t> RateLimiter::NextInTurn(absl::Time now) const {
  if (now < hold_until_) return std::nullopt;
  std::optional<size_t> best;
  std::pair<Priority, size_t> best_rank;
  for (size_t i = 0; i < waiters_.size(); ++i) {
    const WaitingCall& waiter = waiters_[i];
    if (waiter.deadline < now || !MayGoNow(waiter.want)) continue;
    const std::pair<Priority, size_t> rank(waiter.want.priority, MadeBy(waiter.want.sharer));
    if (best && best_rank <= rank) continue;
    best = i;
    best_rank = rank;
  }
  return best;
}

void RateLimiter::ForgetOld(absl::Time now) { made_.ForgetUntil(now - kWindow); }

bool RateLimiter::MayGoNow(const Want& want) const {
  if (MadeIn(CallGroup::kAll) >= limit_) return false;
  if (want.priority != Priority::kSubmit &&
      MadeIn(CallGroup::kNotSubmits) >= limit_ - kept_for_submits_)
    return false;
  if (want.priority == Priority::kBackground) return true;
  if (MadeIn(CallGroup::kOfCallers) >= limit_ - kept_for_own_) return false;
  if (want.priority == Priority::kInteractive &&
      MadeIn(CallGroup::kInteractive) >= limit_ - kept_for_submits_ - kept_for_own_)
    return false;
  return want.sharer == nullptr || MadeBy(want.sharer) < share_ ||
         MadeIn(CallGroup::kOfCallers) < scarce_;
}

absl::Time RateLimiter::TurnOfLast(absl::Time now) const {
  const size_t last = waiters_.size() - 1;
  if (last == 0) return TurnOf(waiters_[0].want, {}, now);
  const std::vector<const Want*> waiting = Waiting();
  TurnOrder order(waiting, made_);
  while (order.Next() != last) order.Keep();
  return TurnOf(waiters_[last].want, order.Ahead(), now);
}

absl::Time RateLimiter::TurnOf(const Want& want, const CallsAhead& ahead, absl::Time now) const {
  if (ahead.none() && MayGoNow(want)) return std::max(now, hold_until_);
  absl::Time turn = TurnWithinLimits(want.priority, ahead, now);
  // The calls that are reserved for its priority come to it whoever else waits. But processes that
  // share a budget may have used them up.
  const size_t kept = want.priority == Priority::kSubmit       ? kept_for_submits_
                      : want.priority == Priority::kBackground ? kept_for_own_
                                                               : 0;
  if (kept > 0) {
    turn = std::min(turn, std::max(TurnWithin(kept, GroupOf(want.priority), ahead, now),
                                   TurnWithinLimits(want.priority, {}, now)));
  }
  if (want.sharer == nullptr || want.priority == Priority::kBackground) return turn;
  return std::max(turn, std::min(TurnWithin(share_, made_.By(want.sharer.get()), ahead.own, now),
                                 TurnWithin(scarce_, CallGroup::kOfCallers, ahead, now)));
}

absl::Time RateLimiter::TurnWithinLimits(Priority priority, const CallsAhead& ahead,
                                         absl::Time now) const {
  absl::Time turn = TurnWithin(limit_, CallGroup::kAll, ahead, now);
  const auto also = [&](size_t budget, CallGroup group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    turn = std::max(turn, TurnWithin(budget, group, ahead, now));
  };
  if (priority != Priority::kSubmit) also(limit_ - kept_for_submits_, CallGroup::kNotSubmits);
  if (priority != Priority::kBackground) also(limit_ - kept_for_own_, CallGroup::kOfCallers);
  if (priority == Priority::kInteractive)
    also(limit_ - kept_for_submits_ - kept_for_own_, CallGroup::kInteractive);
  return turn;
}

absl::Time RateLimiter::TurnWithin(size_t budget, const MadeCalls::Times& made, size_t ahead,
                                   absl::Time now) const {
  const absl::Time soonest = std::max(now, hold_until_);
  // Each call is made one window after the call `budget` places before it. That one may itself
  // still wait, so this goes back to one that was made or that nothing delays.
  size_t place = made.size() + ahead;
  int windows = 0;
  for (; place >= made.size() && place >= budget; place -= budget) ++windows;
  if (place >= made.size()) return soonest + kWindow * windows;
  return std::max(made[place] + kWindow, soonest) + kWindow * std::max(windows - 1, 0);
}

bool RateLimiter::IsFull(const Want& want) const {
  if (want.sharer == nullptr) return false;
  return waiters_.size() >= kMostWaiting ||
         std::count_if(waiters_.begin(), waiters_.end(), [&](const WaitingCall& waiter) {
           return waiter.want.sharer == want.sharer;
         }) >= kMostWaitingOfOne;
}

void RateLimiter::ArmTimer(absl::Time now) {
  if (waiters_.empty()) return;
  absl::Time next = absl::InfiniteFuture();
  for (const WaitingCall& waiter : waiters_)
    next = std::min({next, std::max(TurnOf(waiter.want, {}, now), ask_at_), waiter.deadline});
  // Calls that may go now have gone already.
  next = std::max(next, now + absl::Milliseconds(1));
  // The budget's answer takes care of the rest.
  if (asking_) next = std::max(next, now + kWhileAsking);
  if (next >= armed_for_) return;
  armed_for_ = next;
  // A timer that was replaced by an earlier one does nothing when it fires.
  clock_.RunAt(next, [self = weak_from_this(), timer = ++timer_] {
    const std::shared_ptr<RateLimiter> limiter = self.lock();
    if (limiter == nullptr) return;
    {
      MutexLock lock(limiter->mu_);
      if (limiter->timer_ != timer) return;
      limiter->armed_for_ = absl::InfiniteFuture();
    }
    limiter->Pump();
  });
}

absl::Status RateLimiter::TooLong(const Want& want, absl::Time turn, absl::Time now) const {
  if (refusals_ != nullptr && want.sharer != nullptr) refusals_->Count(*want.sharer);
  const std::string why =
      now < hold_until_
          ? std::string("Segmind asked for no calls for a while, which ends after the deadline")
          : absl::StrCat("Segmind's limit of ", limit_,
                         " calls a minute leaves no room before the deadline");
  return Error(absl::StatusCode::kResourceExhausted, pb::ErrorReason::UPSTREAM_RATE_LIMITED, why)
      .RetryAfter(std::max(turn - now, absl::Seconds(1)));
}

}  // namespace finetune
