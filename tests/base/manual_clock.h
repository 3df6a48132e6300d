#pragma once

#include <map>
#include <utility>

#include "server/base/clock.h"
#include "server/base/mutex.h"

namespace finetune {

// A clock that stands still until Advance turns it; due timers run inside Advance, in order, on its
// caller's thread. The time of day goes with it, and can be set by itself.
class ManualClock : public Clock {
 public:
  explicit ManualClock(absl::Time start = absl::FromUnixSeconds(1'700'000'000)) : now_(start) {}

  absl::Time Now() override {
    MutexLock lock(mu_);
    return now_;
  }

  absl::Time WallNow() override {
    MutexLock lock(mu_);
    return now_ + wall_ahead_;
  }

  // As an administrator or NTP sets the machine's clock.
  void StepWall(absl::Duration by) {
    MutexLock lock(mu_);
    wall_ahead_ += by;
  }

  TimerId RunAt(absl::Time when, absl::AnyInvocable<void() &&> callback) override {
    MutexLock lock(mu_);
    const TimerId id = ++last_id_;
    timers_.emplace(std::make_pair(when, id), std::move(callback));
    return id;
  }

  bool Cancel(TimerId timer) override {
    MutexLock lock(mu_);
    for (auto it = timers_.begin(); it != timers_.end(); ++it) {
      if (it->first.second == timer) {
        timers_.erase(it);
        return true;
      }
    }
    return false;
  }

  // Timers that have yet to run.
  size_t timers() {
    MutexLock lock(mu_);
    return timers_.size();
  }

  void Advance(absl::Duration by) {
    const absl::Time target = Now() + by;
    while (true) {
      absl::AnyInvocable<void() &&> due;
      {
        MutexLock lock(mu_);
        if (timers_.empty() || timers_.begin()->first.first > target) {
          now_ = target;
          return;
        }
        now_ = std::max(now_, timers_.begin()->first.first);
        due = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
      }
      std::move(due)();
    }
  }

 private:
  absl::Duration WallOffset() override {
    MutexLock lock(mu_);
    return wall_ahead_;
  }
  absl::Duration ExactWallOffset() override { return WallOffset(); }

  Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_);
  absl::Duration wall_ahead_ ABSL_GUARDED_BY(mu_);
  TimerId last_id_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::pair<absl::Time, TimerId>, absl::AnyInvocable<void() &&>> timers_
      ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
