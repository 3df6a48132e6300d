#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/tracking/followed_reads.h"
#include "server/jobs/tracking/segmind_reader.h"
#include "server/jobs/tracking/upstream_clock.h"
#include "server/segmind/segmind_client.h"
#include "server/store/fleet.h"

namespace finetune {

// Makes the record follow Segmind: by reading Segmind while this process leads, which it always
// does if it has the record to itself; otherwise by telling the leader what is heard and wanted
// here. Thread-safe; owned by the gateway.
class Tracker : private FleetListener, private CommitListener {
 public:
  using Options = SegmindReader::Options;
  // All outlive it. The recorder has not recorded anything yet.
  struct Parts {
    SegmindClient& segmind;
    Recorder& recorder;
    Catalog& catalog;
    Fleet& fleet;
    Clock& clock;
    Metrics& metrics;
  };

  Tracker(const Options& options, const Parts& parts);
  ~Tracker() override;

  // Joins the fleet, and begins to poll as soon as this process leads.
  void Start();
  // No callback of its own runs afterwards. Refreshes that wait end with CANCELLED. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // A webhook said something about a job: look now. Never blocks. The read and its commit belong to
  // `trace`, unless it takes a list; so they do if another process reads, but then without what
  // other systems added (`tracestate`).
  void Hint(std::string upstream_id, const TraceContext& trace = {}) ABSL_LOCKS_EXCLUDED(mu_);

  // Calls back once memory includes a read of Segmind that began at `not_before` (steady) or later:
  // of the job with that id, or of all jobs if it is empty. Callers that want the same share one
  // read. With the read's error, or DEADLINE_EXCEEDED.
  void Refresh(std::string id, absl::Time not_before, absl::Time deadline, RefreshCalls::Done done)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Somebody waits for what belongs to a job's state (FineTune.details_pending): read it before
  // others.
  void Complete(std::string upstream_id) ABSL_LOCKS_EXCLUDED(mu_);

  // Something was submitted or became unknown: poll at the active pace from now on.
  void Wake() ABSL_LOCKS_EXCLUDED(mu_);

  // Segmind answered a submission that was made between these two moments (steady) with this job.
  void NoteSubmitted(std::string upstream_id, absl::Time begin, absl::Time end)
      ABSL_LOCKS_EXCLUDED(mu_);

  // `listener` hears, from within the tracker's work, that a job is no longer SUBMIT_UNKNOWN (its
  // id; the catalog shows it). There is one listener, set before Start. It hears nothing while
  // another process leads.
  void OnSettled(std::function<void(const std::string& fine_tune_id)> listener)
      ABSL_LOCKS_EXCLUDED(mu_);

  const UpstreamClock& upstream_clock() const { return upstream_clock_; }
  // Whether lists are known not to show all jobs.
  bool list_is_partial() const { return list_is_partial_; }
  // How Segmind is doing, for GetGatewayStatus: according to the calls of this process and, if
  // another one reads Segmind, according to that one. Not HEALTHY before a list has been read,
  // while lists are known not to show all jobs, or while no process is seen to read them.
  pb::GatewayStatus::UpstreamState upstream_state() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // FleetListener.
  void OnLead(std::shared_ptr<const LeaderLease> lease) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnFollow() override ABSL_LOCKS_EXCLUDED(mu_);
  void OnHints(const std::vector<FleetHint>& hints) override;
  void OnWake() override { Wake(); }
  void OnWanted(uint64_t ticket) override ABSL_LOCKS_EXCLUDED(mu_);
  void OnReading(const FleetReading& reading) override;
  // CommitListener.
  void OnCommitted(absl::Span<const ChangePtr>) override { followed_->OnCommitted(); }

  std::shared_ptr<SegmindReader> MakeReader(std::shared_ptr<const LeaderLease> lease);
  // Null while another process leads.
  std::shared_ptr<SegmindReader> reader() const ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const Options options_;
  const Parts parts_;
  // Null where this process has the record to itself.
  std::unique_ptr<FollowedReads> followed_;

  // Thread-safe themselves.
  UpstreamClock upstream_clock_;
  std::atomic<bool> list_is_partial_{false};
  // The leader's word, as far as another process leads.
  std::atomic<pb::GatewayStatus::UpstreamState> told_state_{
      pb::GatewayStatus::UPSTREAM_STATE_UNSPECIFIED};

  mutable Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::shared_ptr<SegmindReader> reader_ ABSL_GUARDED_BY(mu_);
  // Of a term that is over, and perhaps still about to end.
  std::shared_ptr<SegmindReader> last_reader_ ABSL_GUARDED_BY(mu_);
  std::function<void(const std::string&)> settled_listener_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
