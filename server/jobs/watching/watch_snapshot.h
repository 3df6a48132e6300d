#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/base/mutex.h"
#include "server/jobs/record/catalog.h"

namespace finetune {

// Jobs of one view of the catalog in the order of their revisions, as a stream sends them.
// Immutable.
struct WatchSnapshot {
  std::vector<VersionPtr> versions;
};

using WatchSnapshotPtr = std::shared_ptr<const WatchSnapshot>;

// Makes snapshots; all streams that walk the same view share one. Thread-safe.
class WatchSnapshots {
 public:
  explicit WatchSnapshots(const Catalog& catalog) : catalog_(catalog) {}

  // All jobs.
  WatchSnapshotPtr Of(const ViewPtr& view) ABSL_LOCKS_EXCLUDED(mu_);
  // Those with these ids, without repetition, that the view has.
  WatchSnapshotPtr Of(const ViewPtr& view, const std::vector<std::string>& ids);

 private:
  const Catalog& catalog_;

  Mutex mu_;
  // The last one made, while some stream walks it.
  std::weak_ptr<const WatchSnapshot> last_ ABSL_GUARDED_BY(mu_);
  uint64_t last_revision_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace finetune
