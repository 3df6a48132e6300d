#include "server/jobs/tracking/tracker.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <utility>

#include "absl/strings/str_join.h"
#include "server/base/error.h"
#include "server/base/log.h"
#include "server/base/time_proto.h"
#include "server/base/worker.h"
#include "server/jobs/record/merge.h"
#include "server/jobs/record/settle.h"
#include "server/jobs/tracking/candidates.h"
#include "server/jobs/tracking/details_queue.h"
#include "server/jobs/tracking/list_reading.h"
#include "server/jobs/tracking/missing_jobs.h"
#include "server/jobs/tracking/pace.h"
#include "server/jobs/tracking/refresh_calls.h"
#include "server/jobs/tracking/tracking_metrics.h"
#include "server/jobs/tracking/unknown_words.h"
#include "server/segmind/list_reader.h"

namespace finetune {
namespace {

// For a list with all its tries.
constexpr absl::Duration kListDeadline = absl::Seconds(150);
constexpr absl::Duration kDetailsDeadline = absl::Minutes(1);
// Bytes that are read sooner than another thread is woken.
constexpr size_t kShortList = size_t{64} << 10;
constexpr size_t kMaxUnknownHints = 1000;
// Submissions whose created_ts teaches what Segmind's clock says.
constexpr size_t kMaxSubmitted = 100;

absl::Status Stopped() {
  return Error(absl::StatusCode::kCancelled, pb::ErrorReason::SERVER_DRAINING,
               "the gateway is stopping");
}

// Details that were asked for by a name that jobs share may be another's.
bool IsAbout(const UpstreamJob& job, const record::FineTuneRecord& record, Draft& draft) {
  if (const auto known = FindRecordOf(draft, job))
    return known->fine_tune().name() == record.fine_tune().name();
  return absl::EqualsIgnoreCase(job.id, record.fine_tune().upstream_id());
}

Pace::Options PaceOptions(const Tracker::Options& options) {
  return {.active_interval = options.active_poll_interval,
          .idle_interval = options.idle_poll_interval,
          .settle_interval = options.settle_time / std::max(1, options.settle_lists)};
}

}  // namespace

// Keeps the threads and calls the parts: Pace says when, DetailsQueue which job, MissingJobs what a
// list's silence is worth, Candidates what may be a lost submission. Callbacks of Segmind, of the
// recorder and of the clock may come after the Tracker is gone, so they hold this. Everything but
// Post, RunOrPost and Shutdown runs on one thread at a time, as Worker says; callbacks of others
// come back through Post, and are dropped once it has stopped. After each step Pump() starts what is
// due and sets one timer for the next.
class Tracker::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Options options, SegmindClient& segmind, Recorder& recorder, Catalog& catalog, Clock& clock,
       Metrics& metrics)
      : options_(options),
        segmind_(segmind),
        recorder_(recorder),
        catalog_(catalog),
        clock_(clock),
        metrics_(metrics),
        pace_(PaceOptions(options)),
        refreshes_(catalog),
        missing_(catalog),
        unknown_words_(options.unknown_state_timeout),
        worker_("tracker") {}

  // False, with the task dropped, after Shutdown. Any thread.
  bool Post(absl::AnyInvocable<void() &&> task) { return worker_.Post(std::move(task)); }
  // For what is short (Worker).
  bool RunOrPost(absl::AnyInvocable<void() &&> task) { return worker_.RunOrPost(std::move(task)); }
  // Any thread but the tracker's.
  void Shutdown();
  Clock& clock() { return clock_; }
  const UpstreamClock& upstream_clock() const { return upstream_clock_; }
  bool list_is_partial() const { return list_is_partial_; }

  void Begin();
  void TakeHint(const std::string& upstream_id, absl::Time time, const TraceContext& trace);
  void AddRefresh(std::string id, absl::Time not_before, absl::Time deadline,
                  RefreshCalls::Done done);
  void TakeComplete(const std::string& upstream_id);
  void TakeWake();
  void TakeSubmitted(const std::string& upstream_id, absl::Time begin, absl::Time end);
  void SetSettledListener(std::function<void(const std::string&)> listener) {
    settled_listener_ = std::move(listener);
  }

 private:
  struct ListRead {
    uint64_t number = 0;         // Catalog::NextRead, as it began.
    uint64_t ended = 0;          // And as it ended.
    absl::Time asked;            // At most the answer's start_time.
    std::shared_ptr<Span> span;  // Ends with the last who has the read.
    ListAnswer answer;
  };
  struct DetailsRead {
    DetailsQueue::Task task;
    std::string name;  // Which of the job's two names at Segmind was asked for.
    uint64_t number = 0;
    absl::Time asked;
  };
  // When a submission was made, by its job at Segmind.
  struct Submitted {
    absl::Time begin;
    absl::Time end;
  };

  void Pump();
  void SetTimer(absl::Time when);
  absl::Time NextListStart() {
    return pace_.NextStart(lists_.size(), recording_, segmind_.calls_left());
  }
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

  void StartDetails(absl::Time now);
  void AskDetails(DetailsQueue::Task task, const std::string& name);
  void OnDetails(const DetailsRead& read, absl::StatusOr<DetailsAnswer> answer);
  void RecordDetails(const DetailsRead& read, DetailsAnswer answer);
  void OnDetailsRecorded(const DetailsRead& read, absl::Time start, const absl::Status& status);
  void OnUnknownId(const DetailsRead& read);
  void RecordLost(const DetailsRead& read);
  void AddBackfills();
  void LearnCreated(const UpstreamJob& job);

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
  std::function<void(const std::string&)> settled_listener_;

  // Thread-safe themselves.
  UpstreamClock upstream_clock_;
  std::atomic<bool> list_is_partial_{false};

  // Tracker's thread only, from here on.
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
  ListReader reader_;
  bool reader_is_new_ = true;
  uint64_t last_recorded_ = 0;
  absl::flat_hash_map<std::string, absl::Time> hinted_;
  MissingJobs missing_;

  // The search for submissions.
  Candidates candidates_;
  int unsettled_ = 0;
  absl::flat_hash_map<std::string, Submitted> submitted_;
  absl::flat_hash_set<std::string> markers_checked_;

  DetailsQueue details_;
  // Jobs that had ended and that a list says go on.
  absl::flat_hash_set<std::string> doubtful_;
  UnknownWords unknown_words_;

  Worker worker_;
};

// ---- What comes from outside ----

void Tracker::Core::Shutdown() {
  Post([this] {
    stopped_ = true;
    clock_.Cancel(timer_);
    timer_ = Clock::kNoTimer;
    refreshes_.EndAll(Stopped());
    settled_listener_ = nullptr;
  });
  worker_.Stop();
}

void Tracker::Core::Begin() {
  started_ = true;
  missing_.Begin();
  AddBackfills();
  Pump();
}

void Tracker::Core::TakeHint(const std::string& upstream_id, absl::Time time,
                             const TraceContext& trace) {
  if (!upstream_id.empty() && catalog_.FindUpstream(upstream_id) != nullptr) {
    details_.Add(upstream_id, DetailsQueue::kHint, {time, trace});
  } else {
    // Perhaps a submission whose answer has yet to come: a list shows the name, too.
    if (hinted_.size() < kMaxUnknownHints) hinted_.try_emplace(upstream_id, time);
    pace_.Want(time);
  }
  Pump();
}

void Tracker::Core::AddRefresh(std::string id, absl::Time not_before, absl::Time deadline,
                               RefreshCalls::Done done) {
  if (stopped_) return std::move(done)(Stopped());
  not_before = std::min(not_before, clock_.Now());
  if (refreshes_.IsServed(id, not_before)) return std::move(done)(absl::OkStatus());
  const VersionPtr version = id.empty() ? nullptr : catalog_.Find(id);
  if (version != nullptr && missing_.Has(version->upstream_id)) {
    details_.Add(version->upstream_id, DetailsQueue::kAsked);
  } else {
    pace_.Want(not_before);
  }
  refreshes_.Add(std::move(id), not_before, deadline, std::move(done));
  Pump();
}

void Tracker::Core::TakeComplete(const std::string& upstream_id) {
  details_.Add(upstream_id, DetailsQueue::kPending);
  Pump();
}

void Tracker::Core::TakeWake() {
  pace_.OnWoken(clock_.Now());
  Pump();
}

void Tracker::Core::TakeSubmitted(const std::string& upstream_id, absl::Time begin,
                                  absl::Time end) {
  if (!upstream_clock_.wants_created() || submitted_.size() >= kMaxSubmitted) return;
  submitted_[upstream_id] = {begin, end};
  details_.Add(upstream_id, DetailsQueue::kBackfill, {}, UINT64_MAX);
  Pump();
}

// ---- The pace ----

void Tracker::Core::SetInterest() {
  Pace::Interest interest = Pace::Interest::kIdle;
  if (!candidates_.empty() || missing_.undecided() || !doubtful_.empty() ||
      catalog_.view()->active() > 0)
    interest = Pace::Interest::kActive;
  if (unsettled_ > 0) interest = Pace::Interest::kSettling;
  pace_.set_interest(interest);
}

void Tracker::Core::Pump() {
  if (stopped_) return;
  const absl::Time now = clock_.Now();
  refreshes_.Expire(now);
  absl::Time next = refreshes_.NextDeadline();
  if (started_) {
    pace_.NoteCallsLeft(segmind_.calls_left());
    details_.set_slow_interval(absl::Minutes(1) / std::max(1.0, pace_.rate() / 4.0));
    for (const std::string& id : unknown_words_.TakeDue(now)) RecordDormant(id);
    StartDetails(now);
    if (NextListStart() <= now) StartList(now);
    next = std::min({next, NextListStart(), details_.NextStart(), unknown_words_.NextDue()});
  }
  SetTimer(next);
}

void Tracker::Core::SetTimer(absl::Time when) {
  // One that is set and comes sooner sets the next: whoever awaits a read need not set one and
  // cancel it, which would wake the clock's thread each time.
  if (timer_ != Clock::kNoTimer && timer_time_ <= when) return;
  clock_.Cancel(timer_);
  timer_ = Clock::kNoTimer;
  timer_time_ = when;
  if (when == absl::InfiniteFuture()) return;
  timer_ = clock_.RunAt(when, [weak = weak_from_this(), number = ++last_timer_] {
    auto core = weak.lock();
    if (core == nullptr) return;
    core->Post([core = core.get(), number] {
      if (number != core->last_timer_) return;  // Another one was set meanwhile.
      core->timer_ = Clock::kNoTimer;
      core->Pump();
    });
  });
}

// ---- Lists ----

void Tracker::Core::StartList(absl::Time now) {
  const uint64_t number = catalog_.NextRead();
  auto span = std::make_shared<Span>(
      options_.tracer ? options_.tracer->Start(now, SpanKind::kInternal, "poll", {}) : Span());
  lists_[number] = {.number = number, .asked = now, .span = span, .answer = {}};
  pace_.OnListBegun(now);
  segmind_.GetList({now + kListDeadline, span->context()}, [self = shared_from_this(), number](
                                                               absl::StatusOr<ListAnswer> answer) {
    auto shared = std::make_shared<absl::StatusOr<ListAnswer>>(std::move(answer));
    Core* core = self.get();
    const bool is_short = shared->ok() && (*shared)->pages.bytes() <= kShortList;
    auto task = [core, number, shared] { core->OnList(number, std::move(*shared)); };
    if (is_short)
      core->RunOrPost(std::move(task));
    else
      core->Post(std::move(task));
  });
}

void Tracker::Core::OnList(uint64_t number, absl::StatusOr<ListAnswer> answer) {
  ListRead ended = std::move(lists_.at(number));
  lists_.erase(number);
  if (answer.ok()) {
    ended.answer = *std::move(answer);
    ended.ended = catalog_.NextRead();
    if (ended.answer.upstream_time)
      upstream_clock_.NoteDate(ended.answer.start_time, clock_.Now(), *ended.answer.upstream_time);
    answers_.push_back(std::move(ended));
    TakeNextList();
  } else {
    OnListFailed(ended, answer.status());
  }
  Pump();
}

void Tracker::Core::TakeNextList() {
  while (!recording_ && !answers_.empty()) {
    ListRead read = std::move(answers_.front());
    answers_.pop_front();
    // Two were under way and the later one came first: this one has nothing new.
    if (read.number < last_recorded_) continue;
    absl::StatusOr<ListDelta> delta = reader_.Read(read.answer.pages);
    read.answer.pages = UpstreamList();
    if (delta.ok()) {
      RecordDelta(read, *std::move(delta));
    } else {
      OnListFailed(read, delta.status());
    }
  }
}

RollCall Tracker::Core::RollCallOf(const ListRead& read, ListDelta& delta) {
  return {.start_time = read.answer.start_time,
          .total = delta.total,
          .skipped = delta.skipped,
          .more = std::move(delta.more),
          .all_new = std::exchange(reader_is_new_, false),
          .gone = std::move(delta.gone),
          // The reader stays as it is until this is recorded.
          .has = [this](std::string_view id) { return reader_.Has(id); }};
}

SubmissionSearch Tracker::Core::SearchIn(const ListRead& read, const RollCall& roll) {
  candidates_.AskAgain();
  SubmissionSearch search{.candidates = candidates_.Snapshot(),
                          .list_read = read.number,
                          .list_time = read.answer.start_time,
                          .absences = candidates_.absences(),
                          .settle_lists = options_.settle_lists,
                          .settle_time = options_.settle_time};
  if (!recorder_.has_unsettled()) return search;
  const std::string doubt = missing_.DoubtOf(roll);
  search.counts_absence = doubt.empty();
  if (!doubt.empty())
    Log(LogLevel::kWarning, "Segmind's list does not tell whether a submission was made",
        {{"why", doubt}, {"items", roll.total}});
  return search;
}

void Tracker::Core::RecordDelta(const ListRead& read, ListDelta delta) {
  recording_ = true;
  metrics_.CountPoll(!delta.unchanged);
  if (delta.skipped > 0)
    Log(LogLevel::kWarning, "items of Segmind's list cannot be read", {{"items", delta.skipped}});
  auto reading = std::make_shared<ListReading>();
  reading->read = read.number;
  reading->ended = read.ended;
  reading->time = clock_.ToWall(read.answer.start_time);
  reading->items = std::move(delta.changed);
  reading->hinted = hinted_;
  reading->has = [this](const std::string& id) { return reader_.Has(id); };
  for (const UpstreamJob& item : reading->items) doubtful_.erase(item.id);
  candidates_.KeepOnly([this](const std::string& id) { return reader_.Has(id); });
  RollCall roll = RollCallOf(read, delta);
  reading->search = SearchIn(read, roll);
  read.span->Set("finetune.list.items", static_cast<int64_t>(roll.total));
  read.span->Set("finetune.list.changed", static_cast<int64_t>(reading->items.size()));
  auto outcome = std::make_shared<ListOutcome>();
  // Most reads have no news: who waits for one need not wait for the recorder's thread, too.
  if (reading->items.empty() && candidates_.empty() && !recorder_.has_unsettled())
    return OnListRecorded(read, *reading, roll, *outcome, absl::OkStatus());
  recorder_.Record([reading, outcome, &catalog = catalog_](
                       Draft& draft) { return RecordList(*reading, catalog, draft, *outcome); },
                   [self = shared_from_this(), read, reading, outcome,
                    roll = std::move(roll)](const absl::Status& status) {
                     Core* core = self.get();
                     core->Post([core, read, reading, outcome, roll, status] {
                       core->OnListRecorded(read, *reading, roll, *outcome, status);
                     });
                   },
                   read.span->context());
}

void Tracker::Core::OnListRecorded(const ListRead& read, const ListReading& reading,
                                   const RollCall& roll, const ListOutcome& outcome,
                                   const absl::Status& status) {
  recording_ = false;
  if (!status.ok()) {
    // What changed has to be said again.
    reader_.Forget();
    reader_is_new_ = true;
    OnListFailed(read, status);
    TakeNextList();
    return Pump();
  }
  const absl::Time start = read.answer.start_time;
  const absl::Time now = clock_.Now();
  if (pace_.failures() > 0) Log(LogLevel::kInfo, "Segmind's list can be read again");
  last_recorded_ = std::max(last_recorded_, read.number);
  candidates_.Add(outcome.candidates);
  missing_.Note(roll, recorder_.has_unsettled());
  catalog_.SetObserveTime(start, missing_.not_shown());
  metrics_.SetObserveTime(reading.time);
  absl::erase_if(hinted_, [&](const auto& hint) { return hint.second <= start; });
  for (absl::Time time : outcome.hint_times) metrics_.ObserveConfirm(now - time);
  Follow(outcome);
  FollowMissing(roll, now);
  TakeSearch(outcome.search, /*of_list=*/true);
  SetInterest();
  pace_.OnListRecorded(read.asked, start);
  refreshes_.FinishServed();
  TakeNextList();
  Pump();
}

// What the list leaves to be asked.
void Tracker::Core::Follow(const ListOutcome& outcome) {
  doubtful_.insert(outcome.doubtful.begin(), outcome.doubtful.end());
  for (const std::string& id : doubtful_) details_.Add(id, DetailsQueue::kConfirm);
  for (const std::string& id : outcome.stale) details_.Add(id, DetailsQueue::kConfirm);
  for (const std::string& id : outcome.pending) details_.Add(id, DetailsQueue::kPending);
  for (const std::string& id : outcome.incomplete) {
    const VersionPtr version = catalog_.FindUpstream(id);
    if (version == nullptr || version->details_known) continue;
    details_.Add(id, DetailsQueue::kBackfill, {}, version->first_revision);
  }
  NoteWords(outcome);
  NoteMarkers(outcome);
}

// Jobs that lists do not show are followed one by one; those that somebody waits for at once.
void Tracker::Core::FollowMissing(const RollCall& roll, absl::Time now) {
  const bool all_wanted = refreshes_.WaitsForAll();
  for (const std::string& id : missing_.TakeDue(now)) {
    const VersionPtr version = catalog_.FindUpstream(id);
    const bool wanted = all_wanted && version != nullptr && version->active();
    details_.Add(id, wanted ? DetailsQueue::kGone | DetailsQueue::kAsked : DetailsQueue::kGone);
  }
  for (const std::string& id : refreshes_.ids()) {
    const VersionPtr version = catalog_.Find(id);
    if (version != nullptr && missing_.Has(version->upstream_id))
      details_.Add(version->upstream_id, DetailsQueue::kAsked);
  }
  const std::string& partial = missing_.partial();
  if (list_is_partial_.exchange(!partial.empty()) != !partial.empty()) {
    if (partial.empty())
      Log(LogLevel::kInfo, "Segmind's list shows all jobs again");
    else
      Log(LogLevel::kWarning, "Segmind's list does not show all jobs",
          {{"why", partial}, {"items", roll.total}});
  }
  metrics_.SetListIsPartial(!partial.empty());
}

void Tracker::Core::NoteWords(const ListOutcome& outcome) {
  const absl::Time now = clock_.Now();
  for (const ListOutcome::UnknownWord& unknown : outcome.unknown_words) {
    // A time that lies ahead was made by another clock.
    const absl::Time since = std::min(clock_.FromWall(unknown.since), now);
    if (!unknown_words_.Note(unknown.upstream_id, unknown.word, since)) continue;
    metrics_.CountUnknownWord();
    Log(LogLevel::kWarning, "Segmind has a word for a job's state that is not known",
        {{"word", unknown.word}, {"upstream_id", unknown.upstream_id}});
  }
}

void Tracker::Core::NoteMarkers(const ListOutcome& outcome) {
  for (const std::string& id : outcome.without_marker) {
    if (!markers_checked_.insert(id).second) continue;
    metrics_.CountMissingMarker();
    Log(LogLevel::kWarning,
        "Segmind does not show the marker of a job that was submitted: if an answer is lost, its "
        "job is known by prompt, data and time alone",
        {{"upstream_id", id}});
  }
}

void Tracker::Core::OnListFailed(const ListRead& read, const absl::Status& status) {
  metrics_.CountFailedPoll();
  read.span->Fail(absl::StatusCodeToString(status.code()), std::string(status.message()));
  pace_.OnListFailed(clock_.Now(), RetryDelayOf(status).value_or(absl::ZeroDuration()));
  Log(LogLevel::kWarning, "Segmind's list could not be read or recorded",
      {{"trace_id", read.span->context().TraceId()},
       {"span_id", read.span->context().SpanId()},
       {"error", status.ToString()},
       {"failures", pace_.failures()}});
  refreshes_.Fail(read.asked, status);
}

// ---- Details ----

void Tracker::Core::AddBackfills() {
  const ViewPtr view = catalog_.view();
  for (size_t i = 0; i < view->size(); ++i) {
    const FineTuneVersion& version = *view->at(i);
    if (version.details_known || version.upstream_id.empty() ||
        version.state == pb::FineTune::LOST || (version.active() && !version.request_id.empty())) {
      continue;
    }
    details_.Add(version.upstream_id, DetailsQueue::kBackfill, {}, version.first_revision);
  }
}

void Tracker::Core::StartDetails(absl::Time now) {
  while (auto task = details_.Take(now)) {
    const std::string name = task->upstream_id;
    AskDetails(*std::move(task), name);
  }
}

void Tracker::Core::AskDetails(DetailsQueue::Task task, const std::string& name) {
  DetailsRead read{
      .task = std::move(task), .name = name, .number = catalog_.NextRead(), .asked = clock_.Now()};
  const CallContext context(read.asked + kDetailsDeadline, read.task.hint.trace);
  segmind_.GetDetails(
      name, context,
      [self = shared_from_this(), read = std::move(read)](absl::StatusOr<DetailsAnswer> answer) {
        auto shared = std::make_shared<absl::StatusOr<DetailsAnswer>>(std::move(answer));
        Core* core = self.get();
        core->Post([core, read, shared] {
          core->OnDetails(read, std::move(*shared));
          core->Pump();
        });
      });
}

void Tracker::Core::OnDetails(const DetailsRead& read, absl::StatusOr<DetailsAnswer> answer) {
  if (stopped_) return;
  const DetailsQueue::Task& task = read.task;
  if (absl::IsNotFound(answer.status()) && read.name == task.upstream_id) {
    const VersionPtr version = catalog_.FindUpstream(task.upstream_id);
    if (version != nullptr && !version->upstream_request_id.empty() &&
        version->upstream_request_id != read.name) {
      return AskDetails(task, version->upstream_request_id);
    }
  }
  details_.Finish(task);
  if (answer.ok()) {
    LearnCreated(answer->job);
    missing_.OnFound(task.upstream_id, answer->start_time);
    candidates_.TakeDetails(task.upstream_id, answer->job, read.number,
                            clock_.ToWall(answer->start_time));
    RecordDetails(read, *std::move(answer));
    if ((task.why & DetailsQueue::kSettle) != 0) SearchAgain();
    return;
  }
  candidates_.TakeNoDetails(task.upstream_id, absl::IsNotFound(answer.status()));
  if ((task.why & DetailsQueue::kSettle) != 0) SearchAgain();
  if (const VersionPtr version = catalog_.FindUpstream(task.upstream_id))
    refreshes_.FailOf(version->id, read.asked, answer.status());
  if (absl::IsNotFound(answer.status())) return OnUnknownId(read);
  Log(LogLevel::kWarning, "details could not be read",
      {{"trace_id", task.hint.trace.TraceId()},
       {"span_id", task.hint.trace.SpanId()},
       {"upstream_id", task.upstream_id},
       {"error", answer.status().ToString()}});
  // What a state is for is looked for until it is found; the other reasons come again with the next
  // list.
  if ((task.why & DetailsQueue::kPending) != 0)
    details_.Add(task.upstream_id, DetailsQueue::kBackfill, {}, UINT64_MAX);
  if ((task.why & DetailsQueue::kHint) != 0) pace_.Want(clock_.Now());
}

void Tracker::Core::LearnCreated(const UpstreamJob& job) {
  const auto submitted = submitted_.find(job.id);
  if (submitted == submitted_.end()) return;
  if (job.created)
    upstream_clock_.NoteCreated(submitted->second.begin, submitted->second.end, *job.created);
  submitted_.erase(submitted);
  if (!upstream_clock_.wants_created()) submitted_.clear();
}

void Tracker::Core::RecordDetails(const DetailsRead& read, DetailsAnswer answer) {
  const bool hinted = (read.task.why & DetailsQueue::kHint) != 0;
  const bool confirmed = (read.task.why & DetailsQueue::kConfirm) != 0;
  doubtful_.erase(read.task.upstream_id);
  const absl::Time start = answer.start_time;
  auto shared = std::make_shared<DetailsAnswer>(std::move(answer));
  recorder_.Record(
      [id = read.task.upstream_id, number = read.number, ended = catalog_.NextRead(),
       time = clock_.ToWall(start), shared, hinted, confirmed](Draft& draft) {
        auto record = draft.FindUpstream(id);
        if (!record || !IsAbout(shared->job, *record, draft)) return absl::OkStatus();
        Join({.job = shared->job,
              .read = number,
              .ended = ended,
              .time = time,
              .source = hinted ? pb::StateTransition::WEBHOOK : pb::StateTransition::POLL,
              .confirmed = confirmed},
             *record);
        draft.Put(*std::move(record));
        return absl::OkStatus();
      },
      [self = shared_from_this(), read, start](const absl::Status& status) {
        Core* core = self.get();
        core->Post([core, read, start, status] { core->OnDetailsRecorded(read, start, status); });
      },
      read.task.hint.trace);
}

void Tracker::Core::OnDetailsRecorded(const DetailsRead& read, absl::Time start,
                                      const absl::Status& status) {
  const std::string& id = read.task.upstream_id;
  if (status.ok()) {
    if ((read.task.why & DetailsQueue::kHint) != 0)
      metrics_.ObserveConfirm(clock_.Now() - read.task.hint.time);
    if (const VersionPtr version = catalog_.FindUpstream(id)) {
      catalog_.SetObserveTimeOf(version->id, start);
      refreshes_.FinishServed();
    }
  } else {
    // To be said again: by a list, and by details for what a list cannot say.
    details_.Add(id, DetailsQueue::kBackfill);
    pace_.Want(clock_.Now());
  }
  Pump();
}

void Tracker::Core::OnUnknownId(const DetailsRead& read) {
  const std::string& id = read.task.upstream_id;
  doubtful_.erase(id);
  const VersionPtr version = catalog_.FindUpstream(id);
  if ((read.task.why & DetailsQueue::kGone) == 0 || version == nullptr) return;
  // Segmind may be slow to show what it took. A create_time that lies ahead tells no age.
  const absl::Duration age = clock_.WallNow() - version->create_time;
  const absl::Duration young =
      age >= options_.settle_time ? absl::ZeroDuration() : options_.settle_time;
  if (missing_.OnUnknown(id, read.asked, young)) RecordLost(read);
}

void Tracker::Core::RecordLost(const DetailsRead& read) {
  const std::string upstream_id = read.task.upstream_id;
  recorder_.Record(
      [upstream_id, number = read.number, time = clock_.ToWall(read.asked)](Draft& draft) {
        auto record = draft.FindUpstream(upstream_id);
        if (!record || record->read() > number) return absl::OkStatus();
        MoveTo(pb::FineTune::LOST, record->fine_tune().upstream_status(), time,
               pb::StateTransition::POLL, *record);
        record->mutable_fine_tune()->clear_inference_uri();
        record->mutable_fine_tune()->clear_details_pending();
        record->set_read(number);
        *record->mutable_read_time() = ToProto(time);
        *record->mutable_fine_tune()->mutable_observe_time() = ToProto(time);
        draft.Put(*std::move(record));
        return absl::OkStatus();
      },
      [upstream_id](absl::Status status) {
        if (!status.ok()) return;  // The next look at all jobs finds it again.
        Log(LogLevel::kWarning, "Segmind no longer has a job", {{"upstream_id", upstream_id}});
      });
}

// ---- Submissions whose outcome is not known ----

// With what details told since the last list.
void Tracker::Core::SearchAgain() {
  auto search = std::make_shared<SubmissionSearch>();
  search->candidates = candidates_.Snapshot();
  if (search->candidates.empty()) return;
  search->absences = candidates_.absences();
  auto result = std::make_shared<SearchResult>();
  recorder_.Record(
      [search, result](Draft& draft) { return SearchSubmissions(*search, draft, *result); },
      [self = shared_from_this(), result](const absl::Status& status) {
        if (!status.ok()) return;  // The next list searches again.
        Core* core = self.get();
        core->Post([core, result] {
          core->TakeSearch(*result, /*of_list=*/false);
          core->SetInterest();
          core->Pump();
        });
      });
}

void Tracker::Core::TakeSearch(const SearchResult& result, bool of_list) {
  candidates_.Take(result, of_list);
  unsettled_ = result.unsettled;
  metrics_.SetUnsettled(unsettled_);
  for (const std::string& id : result.wanted) details_.Add(id, DetailsQueue::kSettle);
  TellUndecided(result);
  for (const std::string& id : result.settled) {
    const VersionPtr version = catalog_.Find(id);
    if (version != nullptr)
      Log(LogLevel::kInfo, "submission's outcome found",
          {{"audit", true},
           {"caller", version->creator},
           {"request_id", version->request_id},
           {"fine_tune", id},
           {"upstream_id", version->upstream_id},
           {"state", pb::FineTune::State_Name(version->state)}});
    if (settled_listener_) settled_listener_(id);
  }
}

void Tracker::Core::TellUndecided(const SearchResult& result) {
  metrics_.SetUndecided(result.undecided.size());
  for (const SearchResult::Undecided& undecided : result.undecided) {
    const record::Intent& intent = undecided.intent;
    if (!candidates_.IsNews(intent.fine_tune_id())) continue;
    Log(LogLevel::kError,
        "it cannot be told whether Segmind has a submission: it stays SUBMIT_UNKNOWN until the "
        "jobs that it may be are deleted there or told apart",
        {{"audit", true},
         {"caller", intent.caller()},
         {"request_id", intent.request_id()},
         {"fine_tune", intent.fine_tune_id()},
         {"marker", intent.marker()},
         {"may_be", absl::StrJoin(undecided.upstream_ids, " ")}});
  }
}

void Tracker::Core::RecordDormant(const std::string& upstream_id) {
  recorder_.Record(
      [upstream_id](Draft& draft) {
        auto record = draft.FindUpstream(upstream_id);
        if (!record || IsTerminal(record->fine_tune().state()) ||
            !HasUnknownWord(record->fine_tune()))
          return absl::OkStatus();
        record->set_dormant(true);
        draft.Put(*std::move(record));
        return absl::OkStatus();
      },
      [upstream_id](const absl::Status& status) {
        if (!status.ok()) return;  // The next start finds it again.
        Log(LogLevel::kWarning, "a job whose state is not known no longer counts as active",
            {{"upstream_id", upstream_id}});
      });
}

// ---- The face ----

Tracker::Tracker(Options options, SegmindClient& segmind, Recorder& recorder, Catalog& catalog,
                 Clock& clock, Metrics& metrics)
    : core_(std::make_shared<Core>(options, segmind, recorder, catalog, clock, metrics)) {}

Tracker::~Tracker() { Stop(); }

void Tracker::Start() {
  core_->Post([core = core_.get()] { core->Begin(); });
}

void Tracker::Stop() { core_->Shutdown(); }

void Tracker::Hint(std::string upstream_id, const TraceContext& trace) {
  core_->Post([core = core_.get(), id = std::move(upstream_id), now = core_->clock().Now(), trace] {
    core->TakeHint(id, now, trace);
  });
}

void Tracker::Refresh(std::string id, absl::Time not_before, absl::Time deadline,
                      absl::AnyInvocable<void(absl::Status) &&> done) {
  auto shared = std::make_shared<RefreshCalls::Done>(std::move(done));
  const bool posted =
      core_->RunOrPost([core = core_.get(), id = std::move(id), not_before, deadline, shared] {
        core->AddRefresh(id, not_before, deadline, std::move(*shared));
      });
  if (!posted) std::move (*shared)(Stopped());
}

void Tracker::Complete(std::string upstream_id) {
  core_->Post([core = core_.get(), id = std::move(upstream_id)] { core->TakeComplete(id); });
}

void Tracker::Wake() {
  core_->Post([core = core_.get()] { core->TakeWake(); });
}

void Tracker::NoteSubmitted(std::string upstream_id, absl::Time begin, absl::Time end) {
  core_->Post([core = core_.get(), id = std::move(upstream_id), begin, end] {
    core->TakeSubmitted(id, begin, end);
  });
}

void Tracker::OnSettled(std::function<void(const std::string& fine_tune_id)> listener) {
  core_->Post([core = core_.get(), listener = std::move(listener)]() mutable {
    core->SetSettledListener(std::move(listener));
  });
}

const UpstreamClock& Tracker::upstream_clock() const { return core_->upstream_clock(); }

bool Tracker::list_is_partial() const { return core_->list_is_partial(); }

}  // namespace finetune
