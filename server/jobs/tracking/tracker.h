#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/tracking/upstream_clock.h"
#include "server/segmind/segmind_client.h"

namespace finetune {

// Makes the record true: reads Segmind (lists on a pace of its own; details for hints and for what
// lists lack), joins the answers into the jobs, settles submissions whose outcome is unknown, and
// repairs what webhooks missed. Thread-safe; its own work is done by one thread at a time: its own
// ("tracker") or, where that is idle and little is to be done, whoever brings it.
class Tracker {
 public:
  struct Options {
    absl::Duration active_poll_interval = absl::Seconds(15);
    absl::Duration idle_poll_interval = absl::Minutes(5);
    // A submission is taken for not made once it was missing from this many lists, over this long.
    int settle_lists = 3;
    absl::Duration settle_time = absl::Minutes(2);
    // A job whose state at Segmind has been a word that nobody knows for this long is no longer
    // followed and counted as one that goes on.
    absl::Duration unknown_state_timeout = absl::Hours(24);
    // Each list is a trace of its own; null: of none. Outlives the tracker.
    Tracer* tracer = nullptr;
  };

  Tracker(Options options, SegmindClient& segmind, Recorder& recorder, Catalog& catalog,
          Clock& clock, Metrics& metrics);
  ~Tracker();

  // Begins to poll, at once.
  void Start();
  // No callback of its own runs afterwards. Refreshes that wait end with CANCELLED. Idempotent.
  void Stop();

  // A webhook said something about a job: look now. Never blocks. The read and its commit belong to
  // `trace`, unless it takes a list.
  void Hint(std::string upstream_id, const TraceContext& trace = {});

  // Calls back once memory includes a read of Segmind that began at `not_before` (steady) or later:
  // of the job with that id, or of all jobs if it is empty. Callers that want the same share one
  // read. With the read's error, or DEADLINE_EXCEEDED.
  void Refresh(std::string id, absl::Time not_before, absl::Time deadline,
               absl::AnyInvocable<void(absl::Status) &&> done);

  // Somebody waits for what a job's state is for (FineTune.details_pending): read it before others.
  void Complete(std::string upstream_id);

  // Something was submitted or became unknown: poll at the active pace from now on.
  void Wake();

  // Segmind answered a submission that was made between these two moments (steady) with this job.
  void NoteSubmitted(std::string upstream_id, absl::Time begin, absl::Time end);

  // Whom to tell, from within the tracker's work, that a job which was SUBMIT_UNKNOWN is so no
  // longer (its id; the catalog shows it). One listener; before Start.
  void OnSettled(std::function<void(const std::string& fine_tune_id)> listener);

  const UpstreamClock& upstream_clock() const;
  // Whether lists are known not to show all jobs.
  bool list_is_partial() const;

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace finetune
