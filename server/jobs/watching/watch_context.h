#pragma once

#include <atomic>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/turn_queue.h"
#include "server/jobs/watching/watch_hub.h"
#include "server/jobs/watching/watch_metrics.h"
#include "server/jobs/watching/watch_snapshot.h"

namespace finetune {

// What the parts of a hub share: how many watchers there are, and whether more may come. Shared by
// the hub, its shards and its watchers. Thread-safe.
class WatchContext {
 public:
  WatchContext(WatchHub::Options options, Catalog& catalog, Clock& clock, Metrics& metrics)
      : options(options), catalog(catalog), clock(clock), metrics(metrics) {}

  // Constant after construction.
  const WatchHub::Options options;
  Catalog& catalog;
  Clock& clock;

  // Thread-safe themselves.
  WatchMetrics metrics;
  WatchSnapshots snapshots;
  // Walks snapshots that take long, because the hub's threads have all streams to serve. Stopped by
  // the hub before it is destroyed.
  TurnQueue walks{"snapshots"};

  // One more; see WatchHub::Watch for the errors. Each one that was admitted leaves once.
  absl::Status Admit() ABSL_LOCKS_EXCLUDED(mu_);
  void Leave() ABSL_LOCKS_EXCLUDED(mu_);

  // Changes before and after each time that the catalog is filled anew. What was read from the
  // catalog is good while this is what it was when the watcher came.
  uint64_t reloads() const { return reloads_.load(std::memory_order_acquire); }
  void NextReload() { reloads_.fetch_add(1, std::memory_order_acq_rel); }

  // Stops admitting. `empty` runs once all have left.
  void Close(absl::AnyInvocable<void() &&> empty) ABSL_LOCKS_EXCLUDED(mu_);
  int64_t count() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  std::atomic<uint64_t> reloads_ = 0;

  mutable Mutex mu_;
  int64_t count_ ABSL_GUARDED_BY(mu_) = 0;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  absl::AnyInvocable<void() &&> empty_ ABSL_GUARDED_BY(mu_);
};

// UNAVAILABLE / SERVER_DRAINING, with a RetryInfo drawn so that clients do not come back together.
absl::Status WatchEnds(std::string_view why);
// The same for a watcher that what was loaded anew does not go on from.
absl::Status WatchIsOutdated();

}  // namespace finetune
