#include "server/segmind/rate_limiter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace finetune {
namespace {

// A little more than the minute, for calls that travel at different speeds.
constexpr absl::Duration kWindow = absl::Milliseconds(60'500);

}  // namespace

std::shared_ptr<RateLimiter> RateLimiter::Make(int calls_per_minute, Clock& clock) {
  return std::shared_ptr<RateLimiter>(new RateLimiter(calls_per_minute, clock));
}

RateLimiter::RateLimiter(int calls_per_minute, Clock& clock)
    : limit_(std::max(calls_per_minute, 1)), clock_(clock) {}

void RateLimiter::Acquire(Priority priority, absl::Time deadline, Granted granted) {
  const absl::Time now = clock_.Now();
  absl::Status refusal;
  {
    MutexLock lock(mu_);
    ForgetOld(now);
    size_t ahead = waiters_[0].size();
    if (priority == Priority::kBackground) ahead += waiters_[1].size();
    const absl::Time turn = TurnOf(ahead, now);
    if (stopped_) {
      refusal = absl::CancelledError("the gateway is stopping");
    } else if (turn > deadline) {
      refusal = TooLong(turn, now);
    } else {
      waiters_[static_cast<size_t>(priority)].push_back({deadline, std::move(granted)});
    }
  }
  if (!refusal.ok()) return std::move(granted)(refusal);
  Pump();
}

void RateLimiter::HoldUntil(absl::Time time) {
  {
    MutexLock lock(mu_);
    hold_until_ = std::max(hold_until_, time);
  }
  // Those whose deadline comes before that need not wait for it.
  Pump();
}

int RateLimiter::calls_left() const {
  const absl::Time now = clock_.Now();
  MutexLock lock(mu_);
  if (now < hold_until_) return 0;
  const auto recent = std::upper_bound(made_.begin(), made_.end(), now - kWindow);
  const size_t used = made_.end() - recent;
  return used >= limit_ ? 0 : static_cast<int>(limit_ - used);
}

void RateLimiter::Shutdown() {
  std::array<std::deque<Waiter>, 2> waiters;
  {
    MutexLock lock(mu_);
    stopped_ = true;
    waiters.swap(waiters_);
  }
  for (auto& queue : waiters)
    for (Waiter& waiter : queue)
      std::move(waiter.granted)(absl::CancelledError("the gateway is stopping"));
}

void RateLimiter::Pump() {
  Ready ready;
  {
    const absl::Time now = clock_.Now();
    MutexLock lock(mu_);
    if (stopped_) return;
    ForgetOld(now);
    GrantAndExpire(now, ready);
    ArmTimer(now);
  }
  for (auto& [granted, status] : ready) std::move(granted)(std::move(status));
}

void RateLimiter::GrantAndExpire(absl::Time now, Ready& ready) {
  for (auto& queue : waiters_) {
    while (!queue.empty() && now >= hold_until_ && made_.size() < limit_ &&
           queue.front().deadline >= now) {
      ready.emplace_back(std::move(queue.front().granted), absl::OkStatus());
      queue.pop_front();
      made_.push_back(now);
    }
  }
  // Those whose turn will not come in time learn it now.
  size_t ahead = 0;
  for (auto& queue : waiters_) {
    std::deque<Waiter> still;
    for (Waiter& waiter : queue) {
      const absl::Time turn = TurnOf(ahead, now);
      if (waiter.deadline < turn || waiter.deadline < now) {
        ready.emplace_back(std::move(waiter.granted), TooLong(turn, now));
      } else {
        still.push_back(std::move(waiter));
        ++ahead;
      }
    }
    queue.swap(still);
  }
}

void RateLimiter::ForgetOld(absl::Time now) {
  while (!made_.empty() && made_.front() <= now - kWindow) made_.pop_front();
}

absl::Time RateLimiter::TurnOf(size_t ahead, absl::Time now) const {
  const absl::Time soonest = std::max(now, hold_until_);
  // Each call is made a window after the one `limit_` places before it, which may be one that still
  // waits: back to one that was made, or that nothing keeps waiting.
  size_t place = made_.size() + ahead;
  int windows = 0;
  for (; place >= made_.size() && place >= limit_; place -= limit_) ++windows;
  if (place >= made_.size()) return soonest + kWindow * windows;
  return std::max(made_[place] + kWindow, soonest) + kWindow * (windows - 1);
}

void RateLimiter::ArmTimer(absl::Time now) {
  if (waiters_[0].empty() && waiters_[1].empty()) return;
  absl::Time next = TurnOf(0, now);
  for (const auto& queue : waiters_)
    for (const Waiter& waiter : queue) next = std::min(next, waiter.deadline);
  if (next >= armed_for_) return;
  armed_for_ = next;
  // A timer that an earlier one has replaced does nothing when it fires.
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

absl::Status RateLimiter::TooLong(absl::Time turn, absl::Time now) const {
  const std::string why =
      now < hold_until_
          ? std::string("Segmind asked for no calls for a while, which ends after the deadline")
          : absl::StrCat("Segmind's limit of ", limit_,
                         " calls a minute leaves no room before the deadline");
  return Error(absl::StatusCode::kResourceExhausted, pb::ErrorReason::UPSTREAM_RATE_LIMITED, why)
      .RetryAfter(std::max(turn - now, absl::Seconds(1)));
}

}  // namespace finetune
