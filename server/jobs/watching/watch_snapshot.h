#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "server/base/mutex.h"
#include "server/jobs/record/catalog.h"

namespace finetune {

// One view of the catalog that streams walk, shared by all that walk it. It may be taken away from
// streams that do not go on. Thread-safe.
class WatchSnapshot {
 public:
  // Null once it was taken away: a stream that walks it then starts over. `now`: when the stream
  // goes on.
  ViewPtr View(absl::Time now) ABSL_LOCKS_EXCLUDED(mu_) {
    used_ns_.store(absl::ToUnixNanos(now), std::memory_order_relaxed);
    MutexLock lock(mu_);
    return view_;
  }

 private:
  friend class WatchSnapshots;
  WatchSnapshot(ViewPtr view, absl::Time now)
      : revision_(view->revision()), used_ns_(absl::ToUnixNanos(now)), view_(std::move(view)) {}

  absl::Time used() const { return absl::FromUnixNanos(used_ns_.load(std::memory_order_relaxed)); }
  void TakeAway() ABSL_LOCKS_EXCLUDED(mu_);

  const uint64_t revision_;
  std::atomic<int64_t> used_ns_;
  Mutex mu_;
  ViewPtr view_ ABSL_GUARDED_BY(mu_);
};

using WatchSnapshotPtr = std::shared_ptr<WatchSnapshot>;

// All views that streams walk. They share what did not change between them, but clients that do not
// read, each at another revision, would together keep much of the past. So the number of views is
// bounded, and even more so of those on which no stream goes on. Thread-safe.
class WatchSnapshots {
 public:
  // With this many, one on which no stream has gone on for kStill makes room for the next.
  static constexpr size_t kKept = 64;
  static constexpr absl::Duration kStill = absl::Seconds(1);
  // With this many, the one on which no stream has gone on for longest does.
  static constexpr size_t kMost = 1024;

  WatchSnapshotPtr Of(const ViewPtr& view, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Mutex mu_;
  std::vector<std::weak_ptr<WatchSnapshot>> walked_ ABSL_GUARDED_BY(mu_);  // The newest last.
};

}  // namespace finetune
