#pragma once

#include <cstdint>
#include <memory>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"

namespace finetune {

// Time, of two kinds, and timers; a seam, so that tests turn the clock by hand
// (tests/base/manual_clock.h). Thread-safe. Outlives everything that holds a timer.
//
// Steady time (Now) only goes on, whatever becomes of the machine's clock, and counts a suspended
// machine's sleep. Intervals, deadlines, ages and rates are made of it. It begins at the time of
// day at which the process started, but is not one: it means nothing to another process.
//
// The time of day (WallNow) is for what is shown, stored or sent. It may be set forward and back
// at any moment, so no difference of two of its values is an age.
class Clock {
 public:
  using TimerId = uint64_t;
  static constexpr TimerId kNoTimer = 0;

  virtual ~Clock() = default;

  virtual absl::Time Now() = 0;
  virtual absl::Time WallNow() = 0;

  // Converts between the two. Their difference is taken anew only when the time of day was set or
  // has drifted by a millisecond, so that one moment is always shown as the same time of day. This
  // notices some milliseconds late that the time of day was set,
  absl::Time ToWall(absl::Time steady) { return steady + WallOffset(); }
  // and this at once, because deadlines come this way.
  absl::Time FromWall(absl::Time wall) { return wall - ExactWallOffset(); }

  // Runs `callback` once at `when` (at once if that has passed) on the clock's own thread. All
  // timers share that thread, so a callback only hands its work on. (One waits: the last resort of
  // a drain, which stops what every other timer is for.) Never returns kNoTimer.
  virtual TimerId RunAt(absl::Time when, absl::AnyInvocable<void() &&> callback) = 0;

  // Afterwards the callback is not running and will not run. True if it had not run. Does not wait
  // when called from the callback itself. Hold no lock that the callback takes. kNoTimer is
  // allowed.
  virtual bool Cancel(TimerId timer) = 0;

  TimerId RunAfter(absl::Duration delay, absl::AnyInvocable<void() &&> callback) {
    return RunAt(Now() + delay, std::move(callback));
  }

 private:
  // The time of day less the steady time, both of one moment.
  virtual absl::Duration WallOffset() = 0;
  virtual absl::Duration ExactWallOffset() = 0;
};

// The machine's clock, with one thread ("clock"). All such clocks of a process agree.
std::unique_ptr<Clock> MakeRealClock();

// Now() and WallNow() of the machine's clock, for code that has no clock at hand. absl::Now() is
// neither: it may take seconds to notice that the time of day was set.
absl::Time SteadyNow();
absl::Time WallNow();

}  // namespace finetune
