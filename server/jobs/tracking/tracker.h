#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/worker.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/tracking/candidates.h"
#include "server/jobs/tracking/details_reader.h"
#include "server/jobs/tracking/list_reading.h"
#include "server/jobs/tracking/missing_jobs.h"
#include "server/jobs/tracking/pace.h"
#include "server/jobs/tracking/refresh_calls.h"
#include "server/jobs/tracking/tracking_metrics.h"
#include "server/jobs/tracking/unknown_words.h"
#include "server/jobs/tracking/upstream_clock.h"
#include "server/segmind/list_reader.h"
#include "server/segmind/segmind_client.h"

namespace finetune {

// Makes the record true: reads Segmind (lists on a pace of its own; details for hints and for what
// lists lack), joins the answers into the jobs, settles submissions whose outcome is unknown, and
// repairs what webhooks missed.
//
// Keeps the threads and calls the parts: Pace says when, DetailsReader reads single jobs,
// MissingJobs says what a list's silence is worth, Candidates what may be a lost submission.
// Thread-safe; its own work is done by one thread at a time: its own ("tracker") or, where that is
// idle and little is to be done, whoever brings it. Callbacks of Segmind, of the recorder and of
// the clock may come when it is gone: they hold the worker alone, which then drops their tasks.
// After each step Pump() starts what is due and sets one timer for the next.
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
  void Refresh(std::string id, absl::Time not_before, absl::Time deadline, RefreshCalls::Done done);

  // Somebody waits for what a job's state is for (FineTune.details_pending): read it before others.
  void Complete(std::string upstream_id);

  // Something was submitted or became unknown: poll at the active pace from now on.
  void Wake();

  // Segmind answered a submission that was made between these two moments (steady) with this job.
  void NoteSubmitted(std::string upstream_id, absl::Time begin, absl::Time end);

  // Whom to tell, from within the tracker's work, that a job which was SUBMIT_UNKNOWN is so no
  // longer (its id; the catalog shows it). One listener; before Start.
  void OnSettled(std::function<void(const std::string& fine_tune_id)> listener);

  const UpstreamClock& upstream_clock() const { return upstream_clock_; }
  // Whether lists are known not to show all jobs.
  bool list_is_partial() const { return list_is_partial_; }

 private:
  struct ListRead {
    uint64_t number = 0;         // Catalog::NextRead, as it began.
    uint64_t begun = 0;          // ReadNumbers::NotAfterNow, likewise.
    uint64_t ended = 0;          // And as it ended.
    absl::Time asked;            // At most the answer's start_time.
    std::shared_ptr<Span> span;  // Ends when the last copy of the read is gone.
    ListAnswer answer;
  };

  void TakeHint(const std::string& upstream_id, absl::Time time, const TraceContext& trace);
  void AddRefresh(std::string id, absl::Time not_before, absl::Time deadline,
                  RefreshCalls::Done done);

  void Pump();
  void SetTimer(absl::Time when);
  absl::Time NextListStart();
  void SetInterest();

  void StartList(absl::Time now);
  void OnList(uint64_t number, absl::StatusOr<ListAnswer> answer);
  void TakeNextList();
  void RecordDelta(const ListRead& read, ListDelta delta);
  RollCall RollCallOf(const ListRead& read, ListDelta& delta);
  SubmissionSearch SearchIn(const ListRead& read, const RollCall& roll);
  void OnListRecorded(const ListRead& read, const ListReading& reading, const RollCall& roll,
                      const ListOutcome& outcome, const absl::Status& status);
  void OnListFailed(const ListRead& read, const absl::Status& status);
  void Follow(const ListOutcome& outcome);
  void FollowMissing(const RollCall& roll, absl::Time now);
  void NoteWords(const ListOutcome& outcome);
  void NoteMarkers(const ListOutcome& outcome);

  void SearchAgain();
  void TakeSearch(const SearchResult& result, bool of_list);
  void TellUndecided(const SearchResult& result);
  void RecordDormant(const std::string& upstream_id);

  // Constant after construction.
  const Options options_;
  SegmindClient& segmind_;
  Recorder& recorder_;
  Catalog& catalog_;
  Clock& clock_;
  TrackingMetrics metrics_;
  const std::shared_ptr<Worker> worker_;

  // Thread-safe themselves.
  UpstreamClock upstream_clock_;
  std::atomic<bool> list_is_partial_{false};

  // Tracker's thread only, from here on.
  std::function<void(const std::string&)> settled_listener_;
  bool started_ = false;
  bool stopped_ = false;
  Clock::TimerId timer_ = Clock::kNoTimer;
  uint64_t last_timer_ = 0;
  absl::Time timer_time_ = absl::InfiniteFuture();
  Pace pace_;
  RefreshCalls refreshes_;

  // Lists: under way (by number), read, and the last one.
  absl::flat_hash_map<uint64_t, ListRead> lists_;
  std::deque<ListRead> answers_;
  bool recording_ = false;
  // While a list is being recorded, the recorder's thread looks into it, too, and may still when
  // this is gone.
  const std::shared_ptr<ListReader> reader_;
  bool reader_is_new_ = true;
  uint64_t last_recorded_ = 0;
  absl::flat_hash_map<std::string, absl::Time> hinted_;
  MissingJobs missing_;
  UnknownWords unknown_words_;

  // The search for submissions.
  Candidates candidates_;
  int unsettled_ = 0;
  absl::flat_hash_set<std::string> markers_checked_;

  DetailsReader details_;
};

}  // namespace finetune
