#include "server/base/clock.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <map>
#include <thread>
#include <utility>

#include "server/base/mutex.h"
#include "server/base/thread.h"

namespace finetune {
namespace {

// After a machine was suspended, timers may be overdue: condition variables do not count the time
// asleep.
constexpr absl::Duration kLongestSleep = absl::Seconds(5);

absl::Time Read(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return absl::TimeFromTimespec(now);
}

// A thread that is preempted between the two reads would be off by the time that it waited, so the
// best of several tries counts.
absl::Duration MeasureWallOffset() {
  constexpr int kTries = 8;
  constexpr absl::Duration kUndisturbed = absl::Microseconds(20);
  absl::Duration offset;
  absl::Duration least = absl::InfiniteDuration();
  for (int i = 0; i < kTries && least > kUndisturbed; ++i) {
    const absl::Time before = SteadyNow();
    const absl::Time wall = WallNow();
    const absl::Duration took = SteadyNow() - before;
    if (took >= least) continue;
    least = took;
    offset = wall - before;
  }
  return offset;
}

class RealClock : public Clock {
 public:
  RealClock() : thread_("clock", [this] { Run(); }) {}

  ~RealClock() override {
    {
      MutexLock lock(mu_);
      stopping_ = true;
      changed_.NotifyAll();
    }
    thread_.Join();
  }

  absl::Time Now() override { return SteadyNow(); }
  absl::Time WallNow() override { return finetune::WallNow(); }

  TimerId RunAt(absl::Time when, absl::AnyInvocable<void() &&> callback) override {
    MutexLock lock(mu_);
    const TimerId id = ++last_id_;
    when_[id] = when;
    timers_.emplace(std::make_pair(when, id), std::move(callback));
    if (when < awake_at_) changed_.NotifyAll();
    return id;
  }

  bool Cancel(TimerId timer) override {
    absl::AnyInvocable<void() &&> dropped;  // Destroyed after the lock: it may own anything.
    MutexLock lock(mu_);
    if (auto found = when_.find(timer); found != when_.end()) {
      auto entry = timers_.find({found->second, timer});
      dropped = std::move(entry->second);
      timers_.erase(entry);
      when_.erase(found);
      return true;
    }
    while (running_ == timer && timer != kNoTimer && !thread_.IsCurrent()) changed_.Wait(mu_);
    return false;
  }

 private:
  // Measured once per tick of the kernel's coarse clock (some milliseconds), which is cheap to
  // read.
  absl::Duration WallOffset() override {
    const int64_t tick = absl::ToUnixNanos(Read(CLOCK_MONOTONIC_COARSE));
    const int64_t measured_at = measured_at_tick_.load(std::memory_order_acquire);
    const int64_t known = wall_offset_ns_.load(std::memory_order_relaxed);
    if (measured_at == tick) return absl::Nanoseconds(known);
    const int64_t now = absl::ToInt64Nanoseconds(MeasureWallOffset());
    const bool same = measured_at != kNever &&
                      absl::AbsDuration(absl::Nanoseconds(now - known)) < absl::Milliseconds(1);
    if (!same) wall_offset_ns_.store(now, std::memory_order_relaxed);
    measured_at_tick_.store(tick, std::memory_order_release);
    return absl::Nanoseconds(same ? known : now);
  }

  absl::Duration ExactWallOffset() override { return MeasureWallOffset(); }

  void Run() ABSL_LOCKS_EXCLUDED(mu_) {
    mu_.Lock();
    while (!stopping_) {
      if (timers_.empty()) {
        awake_at_ = absl::InfiniteFuture();
        changed_.Wait(mu_);
        continue;
      }
      auto first = timers_.begin();
      const absl::Duration left = first->first.first - SteadyNow();
      if (left > absl::ZeroDuration()) {
        awake_at_ = first->first.first;
        changed_.WaitFor(mu_, std::min(left, kLongestSleep));
        continue;
      }
      awake_at_ = absl::InfinitePast();
      running_ = first->first.second;
      auto callback = std::move(first->second);
      timers_.erase(first);
      when_.erase(running_);
      mu_.Unlock();
      std::move(callback)();
      callback = nullptr;
      mu_.Lock();
      running_ = kNoTimer;
      changed_.NotifyAll();
    }
    mu_.Unlock();
  }

  static constexpr int64_t kNever = -1;
  std::atomic<int64_t> measured_at_tick_ = kNever;
  std::atomic<int64_t> wall_offset_ns_ = 0;

  Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  TimerId last_id_ ABSL_GUARDED_BY(mu_) = kNoTimer;
  // When the thread looks at the timers next, whatever is set or cancelled in the meantime. A timer
  // that is later need not wake it.
  absl::Time awake_at_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  TimerId running_ ABSL_GUARDED_BY(mu_) = kNoTimer;
  std::map<std::pair<absl::Time, TimerId>, absl::AnyInvocable<void() &&>> timers_
      ABSL_GUARDED_BY(mu_);
  std::map<TimerId, absl::Time> when_ ABSL_GUARDED_BY(mu_);
  Thread thread_;
};

}  // namespace

absl::Time SteadyNow() {
  static const absl::Duration wall_at_boot = WallNow() - Read(CLOCK_BOOTTIME);
  return Read(CLOCK_BOOTTIME) + wall_at_boot;
}

absl::Time WallNow() { return Read(CLOCK_REALTIME); }

std::unique_ptr<Clock> MakeRealClock() { return std::make_unique<RealClock>(); }

}  // namespace finetune
