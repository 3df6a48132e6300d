#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/worker.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/tracking/refresh_calls.h"
#include "server/jobs/tracking/tracking_metrics.h"
#include "server/store/fleet.h"

namespace finetune {

// Refreshes in a process that does not read Segmind itself: it asks the leader for a list that
// begins from then on, one at a time for all that wait, and hears from it how new the view is.
// Thread-safe; its work is done by one thread ("followed"). Owned by the Tracker.
//
// Times of two machines are never compared: a list that was asked for at some moment of this clock
// began after it, and so it serves all that were waiting by then.
class FollowedReads {
 public:
  FollowedReads(Fleet& fleet, Catalog& catalog, Clock& clock, Metrics& metrics,
                std::atomic<bool>& list_is_partial);
  ~FollowedReads();

  // As the Tracker's.
  void Refresh(std::string id, absl::Time not_before, absl::Time deadline, RefreshCalls::Done done);
  void Stop();

  // The leader told of its reads; they count once the view has what they brought.
  void OnReading(const FleetReading& reading);
  void OnCommitted();

  // `take` is called with each refresh that still waits: somebody else serves it from now on.
  void HandOver(std::function<void(RefreshCalls::Call)> take);

 private:
  // "followed" only, from here on.
  void Add(std::string id, absl::Time not_before, absl::Time deadline, RefreshCalls::Done done);
  void Ask();
  void OnTicket(absl::Time asked, const absl::StatusOr<uint64_t>& ticket);
  void TakeReading();
  void HintUnserved();
  void Step();
  void SetTimer();

  // Constant after construction.
  Fleet& fleet_;
  Catalog& catalog_;
  Clock& clock_;
  TrackingMetrics metrics_;
  std::atomic<bool>& list_is_partial_;
  // Late callbacks hold it alone.
  const std::shared_ptr<Worker> worker_;

  std::atomic<bool> reading_waits_{false};

  // "followed" only.
  bool stopped_ = false;
  RefreshCalls refreshes_;
  std::optional<FleetReading> reading_;  // Not in the view yet.
  // What was asked for last, when, and whether it is still to come.
  bool asking_ = false;
  uint64_t ticket_ = 0;
  absl::Time asked_ = absl::InfinitePast();
  // Jobs that lists do not show and that somebody waits for: how new they were when the leader was
  // asked to look at them.
  absl::flat_hash_map<std::string, absl::Time> hinted_;
  Clock::TimerId timer_ = Clock::kNoTimer;
  absl::Time timer_time_ = absl::InfiniteFuture();
};

}  // namespace finetune
