#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "server/jobs/watching/watch_context.h"
#include "server/jobs/watching/watch_hub.h"
#include "server/jobs/watching/watch_snapshot.h"

namespace finetune {

// One watcher's walk through the jobs as they were at one revision: through all of them, which it
// shares with other watchers, or through those that it names. Every call gets the same spec.
// Guarded by its watcher's lock.
class SnapshotWalk {
 public:
  enum class Result {
    kJob,        // The next one that matches.
    kEnd,        // There is none.
    kEnough,     // So much was compared that others should have their turn now.
    kTakenAway,  // The jobs as they were are no longer kept: start over.
  };

  // Stands before the first job of what the catalog shows now; with `skip` there is none.
  void Begin(const WatchSpec& spec, bool skip, WatchContext& context);
  // Of what it began with.
  uint64_t revision() const { return revision_; }

  // kJob with the message that shows the job. At most so many comparisons, and one job's more.
  Result Next(const WatchSpec& spec, absl::Time now, size_t comparisons, grpc::ByteBuffer& message);

  // Releases the jobs. What it returns may be the last reference to them, which takes a while to
  // drop: do so with no lock held.
  WatchSnapshotPtr End();

 private:
  Result NextOfAll(const WatchSpec& spec, absl::Time now, size_t comparisons,
                   grpc::ByteBuffer& message);
  Result NextNamed(const WatchSpec& spec, grpc::ByteBuffer& message);

  uint64_t revision_ = 0;
  bool skip_ = false;
  size_t next_ = 0;
  // All jobs, or those that it names.
  WatchSnapshotPtr snapshot_;
  std::vector<VersionPtr> named_;
};

}  // namespace finetune
