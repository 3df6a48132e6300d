#pragma once

#include <cstddef>

#include "absl/time/time.h"
#include "server/base/backoff.h"

namespace finetune {

// Decides when the next list may begin. Has no thread and no clock: it is told all times, which are
// steady. Tracker thread only.
class Pace {
 public:
  struct Options {
    absl::Duration active_interval;
    absl::Duration idle_interval;
    // While the outcome of a submission is looked for.
    absl::Duration settle_interval;
  };

  // What there is to follow.
  enum class Interest { kIdle, kActive, kSettling };

  explicit Pace(const Options& options);

  void set_interest(Interest interest) { interest_ = interest; }
  // Calls a minute that Segmind allows, as far as seen.
  void NoteCallsLeft(int calls_left);
  double rate() const { return rate_; }

  void OnListBegun(absl::Time now);
  // A list that was asked for at `asked` and began at `start` is in the record.
  void OnListRecorded(absl::Time asked, absl::Time start);
  // `at_least`: how long Segmind wants to be left alone.
  void OnListFailed(absl::Time now, absl::Duration at_least);

  // Somebody wants a list that begins at `not_before` or later, at once.
  void Want(absl::Time not_before);
  // Something was submitted: from now on the interval counts from the last list.
  void OnWoken(absl::Time now);
  bool woken() const { return woken_ > recorded_start_; }

  // When the next list may begin. `reads`: how many are under way; `recording`: one is being
  // recorded.
  absl::Time NextStart(size_t reads, bool recording, int calls_left) const;

  absl::Time recorded_start() const { return recorded_start_; }
  int failures() const { return failures_; }
  // A list has ended, well or not.
  bool has_tried() const { return failures_ > 0 || recorded_start_ != absl::InfinitePast(); }

 private:
  absl::Duration Interval() const;

  const Options options_;
  Interest interest_ = Interest::kIdle;
  int rate_ = 1;
  absl::Time next_poll_ = absl::InfinitePast();
  absl::Time last_start_ = absl::InfinitePast();
  absl::Time recorded_start_ = absl::InfinitePast();
  absl::Time wanted_ = absl::InfinitePast();
  absl::Time woken_ = absl::InfinitePast();
  int failures_ = 0;
  Backoff backoff_;
};

}  // namespace finetune
