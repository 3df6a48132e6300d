#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "server/base/backoff.h"
#include "server/base/worker.h"
#include "server/jobs/tracking/tracker.h"
#include "server/jobs/tracking/tracker_batch.h"
#include "server/jobs/tracking/tracker_details.h"

namespace finetune {

// The Tracker itself. Everything but Post and Shutdown runs on one thread at a time, as Worker
// says; callbacks of others come back through Post, and are dropped once it has stopped. After each
// step Pump() starts what is due and sets one timer for the next.
class Tracker::Core : public std::enable_shared_from_this<Core> {
 public:
  using RefreshDone = absl::AnyInvocable<void(absl::Status) &&>;

  Core(Options options, SegmindClient& segmind, Recorder& recorder, Catalog& catalog, Clock& clock,
       Metrics& metrics);

  // False, with the task dropped, after Shutdown. Any thread.
  bool Post(absl::AnyInvocable<void() &&> task);
  // For what is short (Worker).
  bool RunOrPost(absl::AnyInvocable<void() &&> task);
  // Any thread but the tracker's.
  void Shutdown();
  absl::Time Now() { return clock_.Now(); }

  void Begin();
  void TakeHint(const std::string& upstream_id, absl::Time time, const TraceContext& trace);
  void AddRefresh(absl::Time not_before, absl::Time deadline, RefreshDone done);
  void TakeWake();
  void SetSettledListener(std::function<void(const std::string&)> listener) {
    settled_listener_ = std::move(listener);
  }

 private:
  struct RefreshCall {
    absl::Time not_before;
    RefreshDone done;
  };
  struct ListRead {
    absl::Time asked;            // At most the answer's start_time.
    std::shared_ptr<Span> span;  // Ends with the last who has the read.
    ListAnswer answer;
  };
  // What a list says about which jobs there are, apart from what changed.
  struct Presence {
    std::vector<std::string> gone;
    size_t total = 0;
    bool trusted = false;
    bool all_new = false;
  };

  // tracker.cc: the pace.
  void Pump();
  void SetTimer(absl::Time when);
  absl::Time NextListStart(absl::Time now);
  absl::Duration PollInterval() const;
  void ExpireRefreshes(absl::Time now);
  void FinishRefreshes(absl::Time upto, const absl::Status& status);

  // tracker_lists.cc: lists.
  void StartList(absl::Time now);
  void OnList(uint64_t read, absl::StatusOr<ListAnswer> answer);
  void TakeNextList();
  void RecordDelta(const ListRead& read, ListDelta delta);
  void OnListRecorded(const ListRead& read, const ListBatch& batch, const Presence& presence,
                      const ListOutcome& outcome, const absl::Status& status);
  void OnListFailed(const ListRead& read, const absl::Status& status);
  bool IsTrusted(const ListDelta& delta) const;
  void NoteMissing(const Presence& presence, absl::Time now);
  void FindMissing();
  void CheckMissing(const Presence& presence);
  void TellSettled(const std::vector<std::string>& ids);

  // tracker_reads.cc: details.
  void StartDetails(absl::Time now);
  void AskDetails(DetailsQueue::Task task, const std::string& name);
  void OnDetails(const DetailsQueue::Task& task, const std::string& name, absl::Time asked,
                 absl::StatusOr<DetailsAnswer> answer);
  void RecordDetails(const DetailsQueue::Task& task, DetailsAnswer answer);
  void RecordCandidates(const std::string& upstream_id, const DetailsAnswer& answer);
  void OnCandidateRecorded(const Candidate& candidate, bool matched, const absl::Status& status);
  void OnUnknownId(const DetailsQueue::Task& task, absl::Time asked);
  void RecordLost(const std::string& upstream_id, absl::Time asked);
  void AddBackfills();

  // Constant after construction.
  const Options options_;
  SegmindClient& segmind_;
  Recorder& recorder_;
  Catalog& catalog_;
  Clock& clock_;
  prometheus::Counter& polls_changed_;
  prometheus::Counter& polls_unchanged_;
  prometheus::Counter& polls_failed_;
  prometheus::Gauge& observe_time_;
  prometheus::Gauge& unsettled_gauge_;
  prometheus::Histogram& confirm_seconds_;
  std::function<void(const std::string&)> settled_listener_;

  // Tracker's thread only, from here on. The pace:
  bool started_ = false;
  bool stopped_ = false;
  Clock::TimerId timer_ = Clock::kNoTimer;
  uint64_t last_timer_ = 0;
  absl::Time timer_time_ = absl::InfiniteFuture();
  absl::Time next_poll_ = absl::InfinitePast();
  absl::Time last_list_start_ = absl::InfinitePast();
  // A read that begins at this time or later is wanted at once.
  absl::Time wanted_ = absl::InfinitePast();
  int rate_ = 1;  // Calls per minute that Segmind allows, as far as seen.
  int failures_ = 0;
  Backoff backoff_;
  std::multimap<absl::Time, RefreshCall> refreshes_;  // By deadline.
  absl::Time woken_ = absl::InfinitePast();
  int unsettled_ = 0;

  // Lists: under way (by number), read, and what they taught.
  uint64_t last_read_ = 0;
  absl::flat_hash_map<uint64_t, ListRead> reads_;
  std::deque<ListRead> answers_;
  bool recording_ = false;
  ListReader reader_;
  bool reader_is_new_ = true;
  absl::Time recorded_start_ = absl::InfinitePast();
  size_t trusted_total_ = 0;
  size_t usual_skipped_ = 0;
  absl::flat_hash_map<std::string, absl::Time> hinted_;
  std::vector<UpstreamJob> held_;
  absl::flat_hash_map<std::string, absl::Time> held_since_;  // By UpstreamJob::id.
  std::vector<Candidate> candidates_;
  absl::flat_hash_set<Candidate> rejected_;
  // Jobs that lists no longer have, with the number of lists; and the whole look for them.
  absl::flat_hash_map<std::string, int> missing_;
  absl::Time missing_found_ = absl::InfinitePast();

  // Details.
  DetailsQueue details_;
  // Jobs that had ended and that a list says go on.
  absl::flat_hash_set<std::string> doubtful_;

  Worker worker_;
};

}  // namespace finetune
