#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/worker.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/tracking/candidates.h"
#include "server/jobs/tracking/credits_reader.h"
#include "server/jobs/tracking/details_reader.h"
#include "server/jobs/tracking/leader_recorder.h"
#include "server/jobs/tracking/list_poller.h"
#include "server/jobs/tracking/missing_jobs.h"
#include "server/jobs/tracking/pace.h"
#include "server/jobs/tracking/reading_parts.h"
#include "server/jobs/tracking/refresh_calls.h"
#include "server/jobs/tracking/tracking_metrics.h"
#include "server/jobs/tracking/unknown_words.h"
#include "server/jobs/tracking/upstream_clock.h"
#include "server/segmind/segmind_client.h"
#include "server/store/fleet.h"

namespace finetune {

// Keeps the record true while this process is the one that reads Segmind: reads lists at a pace of
// its own, and details for hints and for what lists lack; joins the answers into the jobs; settles
// submissions whose outcome is unknown; and repairs what webhooks missed. What it knows beside the
// record it learns anew with each term. Thread-safe; its work is done by one thread at a time: its
// own ("tracker") or, if that is idle and the task is short, the one that brings the task.
// Callbacks of Segmind, of the recorder and of the clock may come when it is gone: they hold only
// the worker, which then drops their tasks. Owned by the Tracker.
//
// It keeps the threads and calls the parts: Pace says when, ListPoller reads lists and
// DetailsReader single jobs, MissingJobs says what it proves that a list lacks a job, Candidates
// which jobs may be lost submissions. After each step Pump() starts what is due and sets one timer
// for the next.
class SegmindReader {
 public:
  struct Options {
    absl::Duration active_poll_interval = absl::Seconds(15);
    absl::Duration idle_poll_interval = absl::Minutes(5);
    // A submission counts as not made once it was missing from this many lists, over this long.
    int settle_lists = 3;
    absl::Duration settle_time = absl::Minutes(2);
    // A job whose state at Segmind has been an unknown word for this long is no longer followed, or
    // counted as active.
    absl::Duration unknown_state_timeout = absl::Hours(24);
    // Between two looks at what the account has left; zero: none.
    absl::Duration credits_poll_interval;
    // Makes each list a trace of its own; null: no traces. Outlives the tracker.
    Tracer* tracer = nullptr;
  };

  // All outlive it.
  struct Parts {
    SegmindClient& segmind;
    Recorder& recorder;
    Catalog& catalog;
    Clock& clock;
    Metrics& metrics;
    Fleet& fleet;
    UpstreamClock& upstream_clock;
    std::atomic<bool>& list_is_partial;
  };

  // No lease: this process has the record to itself.
  SegmindReader(const Options& options, const Parts& parts,
                std::shared_ptr<const LeaderLease> lease);
  ~SegmindReader();

  // Begins to poll, at once.
  void Start();
  // Its term is over: it reads no more, and refreshes that wait end with ABORTED. Does not wait for
  // what is under way; its owner calls Stop, too, before it lets go.
  void StandDown();
  // No callback of its own runs afterwards. Refreshes that wait end with CANCELLED. Idempotent.
  void Stop();

  // As the Tracker's.
  void Hint(std::string upstream_id, const TraceContext& trace = {});
  void Refresh(std::string id, absl::Time not_before, absl::Time deadline, RefreshCalls::Done done);
  void Complete(std::string upstream_id);
  void Wake();
  void NoteSubmitted(std::string upstream_id, absl::Time begin, absl::Time end);
  void OnSettled(std::function<void(const std::string& fine_tune_id)> listener);

  // Other processes wait for a list that begins from now on: the fleet is told of it by this
  // ticket.
  void Want(uint64_t ticket);

 private:
  // What lists and details share of this.
  ReadingParts Shared();
  void TakeHint(const std::string& upstream_id, absl::Time time, const TraceContext& trace);
  void End(const absl::Status& why);
  void AddRefresh(std::string id, absl::Time not_before, absl::Time deadline,
                  RefreshCalls::Done done);

  void Pump();
  void SetTimer(absl::Time when);
  void SetInterest();
  bool MayRead(absl::Time now) const { return lease_ == nullptr || lease_->Holds(now); }

  // What others wait for.
  void ServeWanted(absl::Time start);
  void FailWanted(absl::Time asked, const absl::Status& status);
  void TellOthers();

  void OnList(const ListPoller::Recorded& list);
  void OnListFailed(absl::Time asked, const absl::Status& status);
  void FollowMissing(const RollCall& roll, absl::Time now);

  void SearchAgain();
  void TakeSearch(const SearchResult& result, bool of_list);
  void TellUndecided(const SearchResult& result);
  void RecordDormant(const std::string& upstream_id);

  // Constant after construction.
  const Options options_;
  SegmindClient& segmind_;
  LeaderRecorder recorder_;
  Catalog& catalog_;
  Clock& clock_;
  Fleet& fleet_;
  const std::shared_ptr<const LeaderLease> lease_;
  TrackingMetrics metrics_;
  const std::shared_ptr<Worker> worker_;

  // Thread-safe themselves.
  UpstreamClock& upstream_clock_;
  std::atomic<bool>& list_is_partial_;

  // Tracker's thread only, from here on.
  std::function<void(const std::string&)> settled_listener_;
  bool started_ = false;
  absl::Status ended_;  // Why it does nothing any more.
  Clock::TimerId timer_ = Clock::kNoTimer;
  uint64_t last_timer_ = 0;
  absl::Time timer_time_ = absl::InfiniteFuture();
  Pace pace_;
  RefreshCalls refreshes_;

  // Tickets that wait for a list, since when; and what others were told last.
  std::map<uint64_t, absl::Time> wanted_;
  FleetReading told_;
  MissingJobs missing_;
  UnknownWords unknown_words_;

  // The search for submissions.
  Candidates candidates_;
  int unsettled_ = 0;

  DetailsReader details_;
  ListPoller lists_;
  CreditsReader credits_;
};

}  // namespace finetune
