#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/jobs/catalog.h"
#include "server/jobs/filter.h"
#include "server/jobs/recorder.h"

namespace finetune {

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
  std::string caller;
};

// The stream's side of a watcher: the gRPC reactor, or a fake. The hub calls with no lock of its
// own held, never two writes at once, and nothing after Finish.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  // One serialised pb::WatchFineTunesResponse, complete before the next: the sink calls
  // Watcher::OnWriteDone after it.
  virtual void Write(const grpc::ByteBuffer& message) = 0;
  virtual void Finish(absl::Status status) = 0;
};

// One watcher, owned by its stream. Thread-safe.
class Watcher {
 public:
  virtual ~Watcher() = default;
  // The write is done; `ok` false if the client is gone, after which nothing more is written.
  virtual void OnWriteDone(bool ok) = 0;
  // The client went. Nothing is called on the sink once this returned, but for a write or finish
  // that is under way.
  virtual void Cancel() = 0;
};

// Tells watchers what was committed. The recorder hands changes over and never waits; dispatch is
// spread over threads ("watch-N"); a watcher that is slow keeps no queue (LATEST: the set of jobs
// it has yet to see; EVERY: a place in the catalog's window).
class WatchHub : public CommitListener {
 public:
  struct Options {
    int threads = 4;
    int max_watchers = 20'000;
    int max_watchers_per_caller = 20'000;
    // A stream's greatest age, each drawn within 10 % of it.
    absl::Duration max_age = absl::Minutes(30);
  };

  WatchHub(Options options, Catalog& catalog, Clock& clock, Metrics& metrics);
  ~WatchHub() override;

  // RESOURCE_EXHAUSTED / OVERLOADED with RetryInfo beyond the caps; OUT_OF_RANGE /
  // RESUME_TOKEN_EXPIRED (fail_on_gap); UNAVAILABLE / SERVER_DRAINING. The first write may happen
  // before this returns, on any thread. `sink` outlives the watcher.
  absl::StatusOr<std::shared_ptr<Watcher>> Watch(WatchSpec spec, WatchSink* sink);

  void OnCommitted(absl::Span<const ChangePtr> changes) override;

  // Refuses new watchers and ends all streams over `over`, in jittered batches: a heartbeat with
  // the latest token where the watcher is up to date, then UNAVAILABLE / SERVER_DRAINING with
  // RetryInfo. `done` once all have ended.
  void Drain(absl::Duration over, absl::AnyInvocable<void() &&> done);

  int64_t watcher_count() const;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace finetune
