#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/fair_share.h"
#include "server/base/long_work.h"
#include "server/base/metrics.h"
#include "server/jobs/filter/filter.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/watching/watch_waiter.h"

namespace finetune {

class WatchContext;
class WatchShard;

// What one watcher wants: a checked WatchFineTunesRequest.
struct WatchSpec {
  std::vector<std::string> ids;  // Empty: all.
  FilterPtr filter;              // Includes what the caller may see at all.
  std::optional<ResumePoint> resume;
  bool skip_snapshot = false;
  pb::FineTuneView view = pb::FINE_TUNE_VIEW_BASIC;
  bool every = false;  // Delivery EVERY.
  bool fail_on_gap = false;
  absl::Duration heartbeat_interval = absl::Seconds(15);
  std::shared_ptr<Sharer> sharer;  // Who takes turns with others; may be null.

  // What it takes as long as it is open: the comparisons that each change costs, and a quarter of
  // that for what takes memory alone, which are names, and a filter that its own equality finds.
  int64_t cost() const {
    const auto comparisons = static_cast<int64_t>(filter->comparisons());
    const auto names = static_cast<int64_t>(ids.size());
    const bool is_found = names > 0 || filter->index_key().has_value();
    return (names + 3) / 4 + (is_found ? (comparisons + 3) / 4 : comparisons);
  }
};

// The stream's side of a watcher: the gRPC reactor, or a fake. The hub calls with no lock of its
// own held, never two writes at once, and Finish exactly once, as the last call, for every watcher
// that Watch returned: also after Cancel and after a write that failed.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  // One serialised pb::WatchFineTunesResponse, complete before the next: the sink calls
  // Watcher::OnWriteDone after it. `message` is valid during the call only.
  virtual void Write(const grpc::ByteBuffer& message) = 0;
  // CANCELLED if the client has gone.
  virtual void Finish(absl::Status status) = 0;
  // The write under way takes too long: make it end, with `ok` false if need be. Returns
  // without waiting for that.
  virtual void Abort() = 0;
};

// One watcher, owned by its stream. Thread-safe.
class Watcher {
 public:
  virtual ~Watcher() = default;
  // The write is done; `ok` false if the client is gone, after which nothing more is written. Runs
  // the next write or Finish before it returns.
  virtual void OnWriteDone(bool ok) = 0;
  // The client has gone. Finish follows: at once, or after the OnWriteDone of a write that is under
  // way.
  virtual void Cancel() = 0;
  // Ends it with this: at once, or after the write under way, without a heartbeat. Does nothing
  // if it has ended.
  virtual void End(absl::Status status) = 0;
};

// Tells watchers what was committed. The recorder hands changes over and never waits; dispatch is
// spread over threads ("watch-N"); a slow watcher keeps no queue (LATEST: the set of jobs it still
// has to see; EVERY: a place in the catalog's window). Thread-safe; owned by the gateway. What one
// stream sends, in order:
// - the jobs that match, by revision, then SYNCED; or SYNCED alone (skip_snapshot); or, on a
//   resume, what changed since and, once that is sent, a heartbeat;
// - changes by revision. Nothing is sent about a job that came and left while the client was slow.
//   A client that resumes may be told that a job left which it never saw, because it is not known
//   what the client had before;
// - RESET and all of this again, if the client was too slow for EVERY, did not read its snapshot
//   for longer than the catalog keeps changes, or would have more than `max_pending` jobs to see;
// - a heartbeat when nothing was sent for heartbeat_interval and nothing waits.
class WatchHub : public CommitListener {
 public:
  struct Options {
    // How many threads there are if no waiters are given.
    int threads = 4;
    // A stream's maximum age; each stream's own is drawn within 10 % of it.
    absl::Duration max_age = absl::Minutes(30);
    // How many jobs a slow watcher may still have to see before it is reset; bounds its memory.
    size_t max_pending = 10'000;
    // Limits how much of the machine long walks of snapshots take; null: nothing does. Outlives the
    // hub.
    LongWork* long_work = nullptr;
  };

  // `catalog`, `clock` and `metrics` outlive the hub and its watchers' last write. There is a
  // thread for each of `waiters`, unless there are none.
  WatchHub(Options options, Catalog& catalog, Clock& clock, Metrics& metrics,
           std::vector<std::shared_ptr<WatchWaiter>> waiters = {});
  // Ends the streams that are left, as Drain does, but at once and without a heartbeat. No
  // OnCommitted runs then or later.
  ~WatchHub() override;

  // OUT_OF_RANGE / RESUME_TOKEN_EXPIRED (fail_on_gap); UNAVAILABLE / SERVER_DRAINING. After an
  // error the sink is not called. The first write happens before this returns, and others may, on
  // any thread. `sink` lives until its Finish. With waiters, the thread of waiter number `home`
  // tells it of changes.
  absl::StatusOr<std::shared_ptr<Watcher>> Watch(WatchSpec spec, WatchSink* sink,
                                                 std::optional<size_t> home = std::nullopt);

  void OnCommitted(absl::Span<const ChangePtr> changes) override;
  // Ends all streams with UNAVAILABLE and RetryInfo: what was sent is resumed, here or elsewhere,
  // by the ordinary rules.
  void OnReloading() override;
  void OnReloaded() override;

  // Refuses new watchers and ends all streams, each at a random time within `over`: a heartbeat
  // with the latest token where the watcher is up to date, then UNAVAILABLE / SERVER_DRAINING with
  // RetryInfo. A write that is still under way `patience` after `over` is aborted: its client sees
  // CANCELLED. `done` once all have ended; call it once.
  void Drain(absl::Duration over, absl::Duration patience, absl::AnyInvocable<void() &&> done);

  int64_t watcher_count() const;

  // Returns once everything that was committed before the call has been dispatched, and all timers
  // that are due have run. For tests.
  void AwaitIdle();

 private:
  // Constant after construction.
  const std::shared_ptr<WatchContext> context_;
  std::vector<std::shared_ptr<WatchShard>> shards_;

  std::atomic<uint32_t> next_shard_ = 0;
};

}  // namespace finetune
