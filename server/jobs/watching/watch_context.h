#pragma once

#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/jobs/watching/watch_hub.h"
#include "server/jobs/watching/watch_metrics.h"
#include "server/jobs/watching/watch_snapshot.h"

namespace finetune {

// What the parts of a hub share: how many watchers there are, and whether more may come. Shared by
// the hub, its shards and its watchers. Thread-safe.
class WatchContext {
 public:
  WatchContext(WatchHub::Options options, Catalog& catalog, Clock& clock, Metrics& metrics)
      : options(options), catalog(catalog), clock(clock), metrics(metrics), snapshots(catalog) {}

  // Constant after construction.
  const WatchHub::Options options;
  Catalog& catalog;
  Clock& clock;

  // Thread-safe themselves.
  WatchMetrics metrics;
  WatchSnapshots snapshots;

  // One more; see WatchHub::Watch for the errors. Each one that was admitted leaves once.
  absl::Status Admit() ABSL_LOCKS_EXCLUDED(mu_);
  void Leave() ABSL_LOCKS_EXCLUDED(mu_);

  // Stops admitting. `empty` runs once all have left.
  void Close(absl::AnyInvocable<void() &&> empty) ABSL_LOCKS_EXCLUDED(mu_);
  int64_t count() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable Mutex mu_;
  int64_t count_ ABSL_GUARDED_BY(mu_) = 0;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  absl::AnyInvocable<void() &&> empty_ ABSL_GUARDED_BY(mu_);
};

// UNAVAILABLE / SERVER_DRAINING, with a RetryInfo drawn so that clients do not come back together.
absl::Status WatchEnds(std::string_view why);

}  // namespace finetune
