#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "server/base/mutex.h"
#include "server/jobs/watching/snapshot_walk.h"
#include "server/jobs/watching/watch_context.h"
#include "server/jobs/watching/watch_hub.h"
#include "server/jobs/watching/watch_pending.h"

namespace finetune {

class WatchShard;

// One watcher of a shard: what it has been sent and what it still has to see. `writing_` is a
// baton: the code that sets it (a delivery, a timer, the start) writes to the sink, and the
// OnWriteDone after which nothing is left to send gives it back. Thread-safe. Owned by its stream,
// and by its shard until it ends.
//
// Lock order: mu_, then the shard's. The shard calls with no lock held.
class ShardWatcher : public Watcher, public std::enable_shared_from_this<ShardWatcher> {
 public:
  ShardWatcher(WatchSpec spec, WatchSink* sink, std::shared_ptr<WatchContext> context,
               std::shared_ptr<WatchShard> shard);

  // Joins the shard and makes the first write. The caller has admitted it; after an error it has
  // not begun, and the caller undoes that.
  absl::Status Start() ABSL_LOCKS_EXCLUDED(mu_);

  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mu_);
  void Cancel() override ABSL_LOCKS_EXCLUDED(mu_);
  void End(absl::Status status) override ABSL_LOCKS_EXCLUDED(mu_);

  // Shard's thread.

  // A change that concerns it; in revision order.
  void Deliver(const ChangePtr& change, WatchMatch match, DeliveryTally& tally)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Does what is due by `now`. Returns when to call it again; nullopt if the watcher has ended.
  std::optional<absl::Time> OnTimer(absl::Time now, DeliveryTally& tally) ABSL_LOCKS_EXCLUDED(mu_);

  // Any thread.

  // Ends it at `when` (the shard calls OnTimer then), and by force at `abort`.
  void EndAt(absl::Time when, absl::Time abort) ABSL_LOCKS_EXCLUDED(mu_);

  const WatchSpec& spec() const { return spec_; }
  // Whether the catalog was filled anew since it came.
  bool is_outdated() const;
  // When OnTimer is to be called first.
  absl::Time first_timer() const { return first_timer_; }

 private:
  enum class Phase {
    kSnapshot,  // Walks the jobs as they were when it began.
    kLive,      // Follows the changes after floor_.
    kReset,     // Must start over, once the client reads again; follows nothing.
  };

  // What to do next. `change` or `bytes` hold what is written.
  struct Step {
    // kAside: there is more to look at than the hub's threads have time for.
    enum class Kind { kNothing, kAgain, kAside, kWrite, kFinish };
    Kind kind = Kind::kNothing;
    WatchMessage message = WatchMessage::kHeartbeat;
    ChangePtr change;
    pb::Change::Type type = pb::Change::TYPE_UNSPECIFIED;
    grpc::ByteBuffer bytes;
    absl::Status status;
  };

  // Sends what there is; the caller has the baton. `walk`: how many comparisons of a snapshot's
  // jobs may be made here.
  void Pump(DeliveryTally& tally, size_t walk) ABSL_LOCKS_EXCLUDED(mu_);
  // The same where nobody else waits for it; false, with nothing done, at the end of the hub.
  bool PumpAside() ABSL_LOCKS_EXCLUDED(mu_);
  void Write(const Step& step, absl::Time now, DeliveryTally& tally) ABSL_LOCKS_EXCLUDED(mu_);
  void Finish(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);
  void Abort() ABSL_LOCKS_EXCLUDED(mu_);

  absl::Status BeginLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Continues after the token; false if that cannot be done, and why.
  bool ResumeLocked(pb::Restart::Reason& why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void StartSnapshotLocked(bool skip) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void StartOverLocked(pb::Restart::Reason reason) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Step NextLocked(absl::Time now, size_t walk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Step FarewellLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Step ResetStepLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Step SnapshotStepLocked(absl::Time now, size_t walk) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Step LiveStepLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Step HeartbeatLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // EVERY: fills ready_ from the catalog.
  void PullLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void KeepForLaterLocked(const ChangePtr& change, WatchMatch match)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void HoldLocked(WatchPending::Delivery delivery) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AddPendingLocked(const ChangePtr& change, WatchMatch match, bool may_have)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool CaughtUpLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Time NextTimerLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // By names and filter.
  WatchMatch MatchOfAll(const VersionChange& change) const;

  // Constant after construction.
  const WatchSpec spec_;
  const absl::flat_hash_set<std::string_view> ids_;  // spec_.ids.
  WatchSink* const sink_;
  const std::shared_ptr<WatchContext> context_;
  const std::shared_ptr<WatchShard> shard_;
  const uint64_t reloads_;  // WatchContext::reloads as it came.
  absl::Time first_timer_;

  Mutex mu_;
  Phase phase_ ABSL_GUARDED_BY(mu_) = Phase::kReset;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;  // The baton.
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;  // Finish was or is being called.

  // All that concerns it up to here was sent, or is in the snapshot, pending_ or ready_.
  uint64_t floor_ ABSL_GUARDED_BY(mu_) = 0;
  std::optional<pb::Restart::Reason> reset_ ABSL_GUARDED_BY(mu_);  // To announce.
  SnapshotWalk walk_ ABSL_GUARDED_BY(mu_);
  // LATEST; null when empty.
  std::unique_ptr<WatchPending> pending_ ABSL_GUARDED_BY(mu_);
  // EVERY; null when empty. `behind_`: the catalog has more after floor_.
  std::unique_ptr<std::deque<WatchPending::Delivery>> ready_ ABSL_GUARDED_BY(mu_);
  bool behind_ ABSL_GUARDED_BY(mu_) = false;

  // Time.
  bool heartbeat_due_ ABSL_GUARDED_BY(mu_) = false;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  bool said_farewell_ ABSL_GUARDED_BY(mu_) = false;
  // What End said; OK: the stream's age, or the drain, ends it.
  absl::Status end_status_ ABSL_GUARDED_BY(mu_);
  bool aborting_ ABSL_GUARDED_BY(mu_) = false;        // Abort is being called.
  bool done_meanwhile_ ABSL_GUARDED_BY(mu_) = false;  // OnWriteDone, while aborting_.
  absl::Time last_write_ ABSL_GUARDED_BY(mu_);
  absl::Time end_at_ ABSL_GUARDED_BY(mu_);
  absl::Time abort_at_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
