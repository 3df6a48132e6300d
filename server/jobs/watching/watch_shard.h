#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"
#include "server/jobs/watching/watch_context.h"
#include "server/jobs/watching/watch_index.h"
#include "server/jobs/watching/watch_waiter.h"
#include "server/jobs/watching/watcher.h"

namespace finetune {

// A part of the hub's watchers and the thread ("watch-N") that tells them of changes and of time.
// Thread-safe. Owned by the hub, and by its watchers until their end; the hub calls Stop before it
// goes.
class WatchShard : public std::enable_shared_from_this<WatchShard> {
 public:
  WatchShard(std::string name, std::shared_ptr<WatchContext> context,
             std::shared_ptr<WatchWaiter> waiter);
  ~WatchShard();

  // Starts the thread. Once.
  void Start();
  // Ends the thread, then the watchers that are left. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // Hands changes over; never waits for a watcher.
  void Enqueue(absl::Span<const ChangePtr> changes) ABSL_LOCKS_EXCLUDED(mu_);

  void Add(const std::shared_ptr<ShardWatcher>& watcher) ABSL_LOCKS_EXCLUDED(mu_);
  // Does nothing if it is not there.
  void Remove(const ShardWatcher& watcher) ABSL_LOCKS_EXCLUDED(mu_);

  // A heartbeat for a watcher that was sent all that concerns it up to the shard's place, and up to
  // `floor`.
  grpc::ByteBuffer Heartbeat(uint64_t floor) ABSL_LOCKS_EXCLUDED(mu_);

  // Ends each watcher at a random time within `over`, and by force `patience` after that.
  void EndAll(absl::Duration over, absl::Duration patience) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the watchers that were there before the catalog was filled anew, and forgets what they
  // were to be told.
  void EndOutdated() ABSL_LOCKS_EXCLUDED(mu_);
  // Ends a watcher that joined while EndAll ran and may have been overlooked.
  void EndIfLate(const std::shared_ptr<ShardWatcher>& watcher) ABSL_LOCKS_EXCLUDED(mu_);
  // Returns once nothing is queued and no timer is due. For tests.
  void AwaitIdle() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Timer {
    absl::Time when;
    std::weak_ptr<ShardWatcher> watcher;

    // For a heap with the earliest on top.
    bool operator<(const Timer& other) const { return when > other.when; }
  };

  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until there is something to do; false if it is time to stop.
  bool Await() ABSL_LOCKS_EXCLUDED(mu_);
  void Dispatch(const ChangePtr& change, DeliveryTally& tally) ABSL_LOCKS_EXCLUDED(mu_);
  void RunTimers(DeliveryTally& tally) ABSL_LOCKS_EXCLUDED(mu_);
  void AddTimerLocked(Timer timer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Has the clock wake the thread for the first timer.
  void ArmClock() ABSL_LOCKS_EXCLUDED(mu_);
  void OnClock(absl::Time when) ABSL_LOCKS_EXCLUDED(mu_);
  bool TimerDueLocked(absl::Time now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  const std::string name_;
  const std::shared_ptr<WatchContext> context_;
  const std::shared_ptr<WatchWaiter> waiter_;

  // Own thread only: room that is used again for every change.
  std::vector<WatchIndex::Hit> hits_;

  Mutex mu_;
  CondVar idle_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool ending_all_ ABSL_GUARDED_BY(mu_) = false;
  bool busy_ ABSL_GUARDED_BY(mu_) = false;     // Not waiting.
  bool working_ ABSL_GUARDED_BY(mu_) = false;  // Between taking the queue and having told all.
  std::vector<ChangePtr> queue_ ABSL_GUARDED_BY(mu_);
  WatchIndex index_ ABSL_GUARDED_BY(mu_);

  // All changes up to here were dispatched, those of a read of Segmind that began at covered_ too.
  uint64_t dispatched_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time covered_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  // The last heartbeat and what it says.
  grpc::ByteBuffer heartbeat_ ABSL_GUARDED_BY(mu_);
  uint64_t heartbeat_revision_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Time heartbeat_covered_ ABSL_GUARDED_BY(mu_);

  std::vector<Timer> timers_ ABSL_GUARDED_BY(mu_);  // A heap.
  // When the clock will wake the thread at the latest.
  absl::Time armed_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  absl::Time last_tick_ ABSL_GUARDED_BY(mu_) = absl::InfinitePast();
  bool clock_rang_ ABSL_GUARDED_BY(mu_) = false;

  std::unique_ptr<Thread> thread_;
};

}  // namespace finetune
