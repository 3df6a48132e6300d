#include "server/jobs/tracking/pace.h"

#include <algorithm>

namespace finetune {
namespace {

// Two, so that a list that hangs does not keep the next one from starting.
constexpr size_t kListsAtOnce = 2;
constexpr absl::Duration kFirstBackoff = absl::Seconds(1);
constexpr absl::Duration kMostBackoff = absl::Minutes(1);
constexpr absl::Duration kLeastInterval = absl::Milliseconds(10);

}  // namespace

Pace::Pace(const Options& options)
    : options_(options), backoff_(kFirstBackoff, std::max(kMostBackoff, options.active_interval)) {}

void Pace::NoteCallsLeft(int calls_left) { rate_ = std::max(rate_, calls_left); }

absl::Duration Pace::Interval() const {
  const bool settling = interest_ == Interest::kSettling || woken();
  absl::Duration interval = settling || interest_ == Interest::kActive ? options_.active_interval
                                                                       : options_.idle_interval;
  if (settling) interval = std::min(interval, options_.settle_interval);
  return std::max(interval, kLeastInterval);
}

void Pace::OnListBegun(absl::Time now) { last_start_ = now; }

void Pace::OnListRecorded(absl::Time asked, absl::Time start) {
  recorded_start_ = std::max(recorded_start_, start);
  failures_ = 0;
  backoff_.Reset();
  next_poll_ = std::max(asked, start) + Interval();
}

void Pace::OnListFailed(absl::Time now, absl::Duration at_least) {
  ++failures_;
  next_poll_ = now + std::max(backoff_.Next(), at_least);
}

void Pace::Want(absl::Time not_before) { wanted_ = std::max(wanted_, not_before); }

void Pace::OnWoken(absl::Time now) {
  woken_ = now;
  if (failures_ > 0) return;
  next_poll_ = std::min(next_poll_, std::max(last_start_, recorded_start_) + Interval());
}

absl::Time Pace::NextStart(size_t reads, bool recording, int calls_left) const {
  if (reads >= kListsAtOnce) return absl::InfiniteFuture();
  const absl::Time next = reads == 0 && !recording ? next_poll_ : absl::InfiniteFuture();
  if (wanted_ <= last_start_) return next;
  // Callers that want fresh data must neither use up the calls that submissions need nor hammer
  // Segmind while it fails.
  absl::Time at_once = absl::InfinitePast();
  if (calls_left <= rate_ / 4)
    at_once = last_start_ + absl::Minutes(1) / std::max(1.0, rate_ / 4.0);
  if (failures_ > 0) at_once = std::max(at_once, last_start_ + kFirstBackoff);
  return std::min(next, at_once);
}

}  // namespace finetune
