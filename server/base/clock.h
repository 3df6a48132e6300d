#pragma once

#include <cstdint>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"

namespace finetune {

// The time of day and timers; a seam, so that tests turn the clock by hand
// (tests/base/manual_clock.h). Thread-safe. Outlives everything that holds a timer.
class Clock {
 public:
  using TimerId = uint64_t;
  static constexpr TimerId kNoTimer = 0;

  virtual ~Clock() = default;

  virtual absl::Time Now() = 0;

  // Runs `callback` once at `when` (at once if that has passed) on the clock's own thread, which
  // all timers share: it must not block. Never kNoTimer.
  virtual TimerId RunAt(absl::Time when, absl::AnyInvocable<void() &&> callback) = 0;

  // Afterwards the callback is not running and will not run. True if it had not run. Called from
  // the callback itself it does not wait. No lock may be held that the callback takes. kNoTimer is
  // allowed.
  virtual bool Cancel(TimerId timer) = 0;

  TimerId RunAfter(absl::Duration delay, absl::AnyInvocable<void() &&> callback) {
    return RunAt(Now() + delay, std::move(callback));
  }
};

// The machine's clock, with one thread ("clock").
std::unique_ptr<Clock> MakeRealClock();

}  // namespace finetune
