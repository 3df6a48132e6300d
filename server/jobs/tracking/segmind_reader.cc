#include "server/jobs/tracking/segmind_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "server/base/error.h"
#include "server/base/log.h"
#include "server/jobs/record/settle.h"
#include "server/jobs/tracking/reading_stopped.h"

namespace finetune {
namespace {

// How often a lease that has lapsed is looked at: it may be renewed, or have ended for good.
constexpr absl::Duration kLookAtLease = absl::Milliseconds(200);
// After this many lists have failed in a row, another process should try.
constexpr int kGiveUpAfter = 3;

Pace::Options PaceOptions(const SegmindReader::Options& options) {
  return {.active_interval = options.active_poll_interval,
          .idle_interval = options.idle_poll_interval,
          .settle_interval = options.settle_time / std::max(1, options.settle_lists)};
}

}  // namespace

SegmindReader::SegmindReader(const Options& options, const Parts& parts,
                             std::shared_ptr<const LeaderLease> lease)
    : options_(options),
      segmind_(parts.segmind),
      recorder_(lease == nullptr ? LeaderRecorder(parts.recorder)
                                 : LeaderRecorder(parts.recorder, parts.fleet, lease->term)),
      catalog_(parts.catalog),
      clock_(parts.clock),
      fleet_(parts.fleet),
      lease_(std::move(lease)),
      metrics_(parts.metrics),
      worker_(std::make_shared<Worker>("tracker")),
      upstream_clock_(parts.upstream_clock),
      list_is_partial_(parts.list_is_partial),
      pace_(PaceOptions(options)),
      refreshes_(catalog_),
      missing_(catalog_),
      unknown_words_(options.unknown_state_timeout),
      candidates_(options.settle_time),
      details_(Shared(), options.settle_time, worker_,
               {.on_search_news = [this] { SearchAgain(); },
                .on_observed = [this] { TellOthers(); },
                .on_step = [this] { Pump(); }}),
      lists_(Shared(), unknown_words_, details_,
             {.settle_lists = options.settle_lists,
              .settle_time = options.settle_time,
              .tracer = options.tracer},
             worker_,
             {.on_recorded = [this](const ListPoller::Recorded& list) { OnList(list); },
              .on_failed = [this](absl::Time asked,
                                  const absl::Status& status) { OnListFailed(asked, status); },
              .on_step = [this] { Pump(); }}),
      credits_(segmind_, clock_, options.credits_poll_interval, worker_, [this] {
        TellOthers();
        Pump();
      }) {}

ReadingParts SegmindReader::Shared() {
  return {.segmind = segmind_,
          .recorder = recorder_,
          .catalog = catalog_,
          .clock = clock_,
          .metrics = metrics_,
          .upstream_clock = upstream_clock_,
          .pace = pace_,
          .missing = missing_,
          .candidates = candidates_,
          .refreshes = refreshes_};
}

SegmindReader::~SegmindReader() { Stop(); }

// ---- What comes from outside ----

void SegmindReader::Start() {
  worker_->Post([this] {
    started_ = true;
    missing_.Begin();
    details_.AddBackfills();
    Pump();
  });
}

void SegmindReader::StandDown() {
  worker_->Post([this] {
    End(absl::AbortedError("another gateway reads Segmind"));
    metrics_.SetUnsettled(0);
    metrics_.SetUndecided(0);
  });
}

void SegmindReader::Stop() {
  worker_->Post([this] { End(ReadingStopped()); });
  worker_->Stop();
}

void SegmindReader::End(const absl::Status& why) {
  ended_ = why;
  lists_.Stop(why);
  details_.Stop();
  credits_.Stop();
  clock_.Cancel(timer_);
  timer_ = Clock::kNoTimer;
  refreshes_.EndAll(why);
  settled_listener_ = nullptr;
}

void SegmindReader::Hint(std::string upstream_id, const TraceContext& trace) {
  worker_->Post([this, id = std::move(upstream_id), now = clock_.Now(), trace] {
    TakeHint(id, now, trace);
    Pump();
  });
}

void SegmindReader::Refresh(std::string id, absl::Time not_before, absl::Time deadline,
                            RefreshCalls::Done done) {
  auto shared = std::make_shared<RefreshCalls::Done>(std::move(done));
  const bool posted =
      worker_->RunOrPost([this, id = std::move(id), not_before, deadline, shared]() mutable {
        AddRefresh(std::move(id), not_before, deadline, std::move(*shared));
      });
  if (!posted) std::move (*shared)(ReadingStopped());
}

void SegmindReader::Complete(std::string upstream_id) {
  worker_->Post([this, id = std::move(upstream_id)] {
    details_.queue().Add(id, DetailsQueue::kPending);
    Pump();
  });
}

void SegmindReader::Wake() {
  worker_->Post([this] {
    pace_.OnWoken(clock_.Now());
    Pump();
  });
}

void SegmindReader::NoteSubmitted(std::string upstream_id, absl::Time begin, absl::Time end) {
  worker_->Post([this, id = std::move(upstream_id), begin, end] {
    details_.NoteSubmitted(id, begin, end);
    Pump();
  });
}

void SegmindReader::OnSettled(std::function<void(const std::string& fine_tune_id)> listener) {
  worker_->Post([this, listener = std::move(listener)]() mutable {
    settled_listener_ = std::move(listener);
  });
}

void SegmindReader::TakeHint(const std::string& upstream_id, absl::Time time,
                             const TraceContext& trace) {
  if (!upstream_id.empty() && catalog_.FindUpstream(upstream_id) != nullptr) {
    details_.queue().Add(upstream_id, DetailsQueue::kHint, {time, trace});
  } else {
    // It may be a submission whose answer is still to come; a list shows the name, too.
    lists_.NoteHint(upstream_id, time);
    pace_.Want(time);
  }
}

void SegmindReader::AddRefresh(std::string id, absl::Time not_before, absl::Time deadline,
                               RefreshCalls::Done done) {
  if (!ended_.ok()) return std::move(done)(ended_);
  not_before = std::min(not_before, clock_.Now());
  if (refreshes_.IsServed(id, not_before)) return std::move(done)(absl::OkStatus());
  const VersionPtr version = id.empty() ? nullptr : catalog_.Find(id);
  if (version != nullptr && missing_.Has(version->upstream_id)) {
    details_.queue().Add(version->upstream_id, DetailsQueue::kAsked);
  } else {
    pace_.Want(not_before);
  }
  refreshes_.Add(std::move(id), not_before, deadline, std::move(done));
  Pump();
}

// ---- What others wait for ----

void SegmindReader::Want(uint64_t ticket) {
  worker_->Post([this, ticket] {
    const absl::Time now = clock_.Now();
    wanted_[ticket] = now;
    pace_.Want(now);
    Pump();
  });
}

void SegmindReader::ServeWanted(absl::Time start) {
  while (!wanted_.empty() && wanted_.begin()->second <= start) {
    told_.served = wanted_.begin()->first;
    wanted_.erase(wanted_.begin());
  }
}

void SegmindReader::FailWanted(absl::Time asked, const absl::Status& status) {
  bool any = false;
  while (!wanted_.empty() && wanted_.begin()->second <= asked) {
    told_.failed = wanted_.begin()->first;
    wanted_.erase(wanted_.begin());
    any = true;
  }
  if (!any) return;
  told_.failure = status;
  fleet_.Tell(told_);
}

void SegmindReader::TellOthers() {
  if (lease_ == nullptr) return;
  told_.list_time = pace_.recorded_start();
  told_.not_shown = missing_.not_shown();
  told_.revision = catalog_.view()->revision();
  told_.partial = list_is_partial_;
  told_.upstream_state = segmind_.state();
  told_.credits = std::nullopt;
  if (const auto credits = segmind_.credits().At(clock_.Now()))
    told_.credits = {credits->micros, credits->time};
  fleet_.Tell(told_);
}

// ---- The pace ----

void SegmindReader::SetInterest() {
  Pace::Interest interest = Pace::Interest::kIdle;
  if (!candidates_.empty() || missing_.undecided() || details_.has_doubts() ||
      catalog_.view()->active() > 0)
    interest = Pace::Interest::kActive;
  if (unsettled_ > 0) interest = Pace::Interest::kSettling;
  pace_.set_interest(interest);
}

void SegmindReader::Pump() {
  if (!ended_.ok()) return;
  const absl::Time now = clock_.Now();
  refreshes_.Expire(now);
  absl::Time next = refreshes_.NextDeadline();
  if (started_ && !MayRead(now)) {
    next = std::min(next, now + kLookAtLease);
  } else if (started_) {
    pace_.NoteCallsLeft(segmind_.calls_left());
    details_.queue().set_slow_interval(absl::Minutes(1) / std::max(1.0, pace_.rate() / 4.0));
    for (const std::string& id : unknown_words_.TakeDue(now)) RecordDormant(id);
    details_.Start(now);
    if (lists_.NextStart() <= now) lists_.Start(now);
    credits_.Start(now);
    next = std::min({next, lists_.NextStart(), details_.queue().NextStart(),
                     unknown_words_.NextDue(), credits_.NextStart()});
  }
  // Any call to Segmind may have been the first with a different result.
  if (lease_ != nullptr && pace_.has_tried() && segmind_.state() != told_.upstream_state)
    TellOthers();
  SetTimer(next);
}

void SegmindReader::SetTimer(absl::Time when) {
  // A timer that is set and fires sooner will set the next one. So a call that awaits a read need
  // not set and cancel one, which would wake the clock's thread each time.
  if (timer_ != Clock::kNoTimer && timer_time_ <= when) return;
  clock_.Cancel(timer_);
  timer_ = Clock::kNoTimer;
  timer_time_ = when;
  if (when == absl::InfiniteFuture()) return;
  timer_ = clock_.RunAt(when, [this, worker = worker_, number = ++last_timer_] {
    worker->Post([this, number] {
      if (number != last_timer_) return;  // Another one was set meanwhile.
      timer_ = Clock::kNoTimer;
      Pump();
    });
  });
}

// ---- Lists ----

void SegmindReader::OnList(const ListPoller::Recorded& list) {
  const absl::Time now = clock_.Now();
  FollowMissing(list.roll, now);
  TakeSearch(list.search, /*of_list=*/true);
  SetInterest();
  pace_.OnListRecorded(list.asked, list.start);
  ServeWanted(list.start);
  TellOthers();
  refreshes_.FinishServed();
  credits_.Begin(now);
}

void SegmindReader::OnListFailed(absl::Time asked, const absl::Status& status) {
  refreshes_.Fail(asked, status);
  FailWanted(asked, status);
  // Without the store, or at the end of its term, another process would fare no better.
  if (pace_.failures() >= kGiveUpAfter && !absl::IsAborted(status) &&
      ReasonOf(status) != pb::ErrorReason::STORE_UNAVAILABLE)
    fleet_.GiveUp();
}

// Follows jobs that lists do not show one by one; those that somebody waits for, at once.
void SegmindReader::FollowMissing(const RollCall& roll, absl::Time now) {
  const bool all_wanted = refreshes_.WaitsForAll();
  for (const std::string& id : missing_.TakeDue(now)) {
    const VersionPtr version = catalog_.FindUpstream(id);
    const bool wanted = all_wanted && version != nullptr && version->active();
    details_.queue().Add(id,
                         wanted ? DetailsQueue::kGone | DetailsQueue::kAsked : DetailsQueue::kGone);
  }
  for (const std::string& id : refreshes_.ids()) {
    const VersionPtr version = catalog_.Find(id);
    if (version != nullptr && missing_.Has(version->upstream_id))
      details_.queue().Add(version->upstream_id, DetailsQueue::kAsked);
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

// ---- Submissions whose outcome is not known ----

// Searches with what details have told since the last list.
void SegmindReader::SearchAgain() {
  auto search = std::make_shared<SubmissionSearch>();
  search->candidates = candidates_.Snapshot();
  if (search->candidates.empty()) return;
  search->absences = candidates_.absences();
  search->compared = candidates_.compared();
  auto result = std::make_shared<SearchResult>();
  recorder_.Record(
      [search, result, &catalog = catalog_](Draft& draft) {
        absl::Status status = SearchSubmissions(*search, draft, *result);
        result->loads = catalog.loads();
        return status;
      },
      [this, worker = worker_, result](const absl::Status& status) {
        if (!status.ok()) return;  // The next list searches again.
        worker->Post([this, result] {
          TakeSearch(*result, /*of_list=*/false);
          SetInterest();
          Pump();
        });
      });
}

void SegmindReader::TakeSearch(const SearchResult& result, bool of_list) {
  candidates_.Take(result, of_list);
  unsettled_ = result.unsettled;
  metrics_.SetUnsettled(unsettled_);
  for (const std::string& id : result.wanted) details_.queue().Add(id, DetailsQueue::kSettle);
  TellUndecided(result);
  for (const SearchResult::Unlike& unlike : result.unlike)
    Log(LogLevel::kWarning,
        "Segmind shows a job under the marker of another that it cannot be: it asks for something "
        "else, and is shown as a job of its own",
        {{"fine_tune", unlike.id}, {"upstream_id", unlike.upstream_id}});
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

void SegmindReader::TellUndecided(const SearchResult& result) {
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

void SegmindReader::RecordDormant(const std::string& upstream_id) {
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

}  // namespace finetune
