#include "server/jobs/tracking/list_poller.h"

#include <algorithm>
#include <utility>

#include "server/base/error.h"
#include "server/base/log.h"

namespace finetune {
namespace {

// How long a list may take, with all its tries.
constexpr absl::Duration kListDeadline = absl::Seconds(150);
// A list this short is parsed sooner than another thread wakes up.
constexpr size_t kShortList = size_t{64} << 10;
constexpr size_t kMaxUnknownHints = 1000;

}  // namespace

ListPoller::ListPoller(const ReadingParts& parts, UnknownWords& unknown_words,
                       DetailsReader& details, const Options& options,
                       std::shared_ptr<Worker> worker, Listener listener)
    : parts_(parts),
      unknown_words_(unknown_words),
      details_(details),
      options_(options),
      worker_(std::move(worker)),
      listener_(std::move(listener)),
      reader_(std::make_shared<ListReader>()) {}

void ListPoller::NoteHint(const std::string& upstream_id, absl::Time time) {
  if (hinted_.size() < kMaxUnknownHints) hinted_.try_emplace(upstream_id, time);
}

absl::Time ListPoller::NextStart() const {
  return parts_.pace.NextStart(lists_.size(), recording_, parts_.segmind.calls_left());
}

void ListPoller::Start(absl::Time now) {
  const uint64_t number = parts_.catalog.NextRead();
  auto span = std::make_shared<Span>(
      options_.tracer ? options_.tracer->Start(now, SpanKind::kInternal, "poll", {}) : Span());
  lists_[number] = {.number = number,
                    .begun = parts_.catalog.numbers().NotAfterNow(),
                    .asked = now,
                    .span = span,
                    .answer = {}};
  parts_.pace.OnListBegun(now);
  parts_.segmind.GetList({now + kListDeadline, span->context()},
                         [this, worker = worker_, number](absl::StatusOr<ListAnswer> answer) {
                           const bool is_short = answer.ok() && answer->pages.bytes() <= kShortList;
                           auto task = [this, number, answer = std::move(answer)]() mutable {
                             OnList(number, std::move(answer));
                           };
                           if (is_short)
                             worker->RunOrPost(std::move(task));
                           else
                             worker->Post(std::move(task));
                         });
}

void ListPoller::OnList(uint64_t number, absl::StatusOr<ListAnswer> answer) {
  ListRead ended = std::move(lists_.at(number));
  lists_.erase(number);
  if (answer.ok()) {
    ended.answer = *std::move(answer);
    ended.ended = parts_.catalog.numbers().NotBeforeNow();
    if (ended.answer.upstream_time)
      parts_.upstream_clock.NoteDate(ended.answer.start_time, parts_.clock.Now(),
                                     *ended.answer.upstream_time);
    answers_.push_back(std::move(ended));
    TakeNextList();
  } else {
    OnListFailed(ended, answer.status());
  }
  listener_.on_step();
}

void ListPoller::TakeNextList() {
  while (!recording_ && !answers_.empty()) {
    ListRead read = std::move(answers_.front());
    answers_.pop_front();
    // Two lists were under way and the later one came first: this one has no news.
    if (read.number < last_recorded_) continue;
    // The record was loaded anew and may lack what earlier lists showed.
    if (const uint64_t loads = parts_.catalog.loads();
        loads != std::exchange(reader_loads_, loads)) {
      ForgetLists();
      parts_.candidates.ForgetDropped(loads);
    }
    absl::StatusOr<ListDelta> delta = reader_->Read(read.answer.pages, kListSlice);
    if (!delta.ok() || delta->more_changed == 0) read.answer.pages = UpstreamList();
    if (delta.ok()) {
      RecordDelta(std::move(read), *std::move(delta));
    } else {
      OnListFailed(read, delta.status());
    }
  }
}

RollCall ListPoller::RollCallOf(const ListRead& read, ListDelta& delta) {
  return {.asked = read.asked,
          .start_time = read.answer.start_time,
          .total = delta.total,
          .nameless = delta.nameless,
          .more = std::move(delta.more),
          .all_new = std::exchange(reader_is_new_, false),
          .gone = std::move(delta.gone),
          // The reader does not change until this is recorded.
          .has = [this](std::string_view id) { return reader_->Has(id); }};
}

SubmissionSearch ListPoller::SearchIn(const ListRead& read, const RollCall& roll) {
  parts_.candidates.AskAgain();
  SubmissionSearch search{.candidates = parts_.candidates.Snapshot(),
                          .list_read = read.begun,
                          .list_time = read.answer.start_time,
                          .absences = parts_.candidates.absences(),
                          .settle_lists = options_.settle_lists,
                          .settle_time = options_.settle_time,
                          .compared = parts_.candidates.compared_by_next_list()};
  if (!parts_.recorder.has_unsettled()) {
    last_doubt_.clear();
    return search;
  }
  const std::string doubt = too_many_candidates_
                                ? "more jobs may be submissions than are looked into at once"
                                : parts_.missing.DoubtOf(roll);
  search.counts_absence = doubt.empty();
  // Logged once, not for each list.
  if (doubt != std::exchange(last_doubt_, doubt) && !doubt.empty())
    Log(LogLevel::kWarning, "Segmind's list does not tell whether a submission was made",
        {{"why", doubt}, {"items", roll.total}});
  return search;
}

void ListPoller::RecordDelta(ListRead read, ListDelta delta) {
  recording_ = true;
  parts_.metrics.CountPoll(!delta.unchanged);
  if (delta.skipped > 0)
    Log(LogLevel::kWarning, "items of Segmind's list cannot be read", {{"items", delta.skipped}});
  auto recording = std::make_shared<Recording>();
  ListReading& reading = recording->reading;
  reading.read = read.number;
  reading.ended = read.ended;
  reading.time = parts_.clock.ToWall(read.answer.start_time);
  reading.hinted = hinted_;
  reading.has = [reader = reader_](const std::string& id) { return reader->Has(id); };
  parts_.candidates.KeepOnly([this](const std::string& id) { return reader_->Has(id); });
  if (!parts_.recorder.has_unsettled()) parts_.candidates.ForgetDropped(reader_loads_);
  reading.dropped = parts_.candidates.dropped();
  recording->roll = RollCallOf(read, delta);
  const size_t changed = delta.changed.size() + delta.more_changed;
  read.span->Set("finetune.list.items", static_cast<int64_t>(recording->roll.total));
  read.span->Set("finetune.list.changed", static_cast<int64_t>(changed));
  recording->read = std::move(read);
  RecordSlice(recording, std::move(delta.changed), delta.more_changed > 0);
}

void ListPoller::ForgetLists() {
  reader_->Forget();
  reader_is_new_ = true;
}

void ListPoller::RecordSlice(const std::shared_ptr<Recording>& recording,
                             std::vector<UpstreamJob> items, bool more) {
  ListReading& reading = recording->reading;
  reading.items = std::move(items);
  reading.found = recording->outcome.candidates;
  reading.too_many = recording->outcome.too_many;
  reading.more = more;
  for (const UpstreamJob& item : reading.items) details_.DropDoubt(item.id);
  if (more)
    reading.search.candidates = parts_.candidates.Snapshot();
  else
    reading.search = SearchIn(recording->read, recording->roll);
  // Most reads bring no news, and then whoever waits for one need not wait for the recorder's
  // thread, too.
  if (reading.items.empty() && parts_.candidates.empty() && reading.found.empty() &&
      !parts_.recorder.has_unsettled())
    return OnListRecorded(*recording, absl::OkStatus());
  parts_.recorder.Record(
      [recording, loads = reader_loads_, &catalog = parts_.catalog](Draft& draft) {
        if (catalog.loads() != loads)
          return absl::UnavailableError("the record was loaded anew meanwhile");
        absl::Status status = RecordList(recording->reading, draft, recording->slice);
        recording->slice.search.loads = loads;
        return status;
      },
      [this, worker = worker_, recording](const absl::Status& status) {
        worker->Post([this, recording, status] { OnSliceRecorded(recording, status); });
      },
      recording->read.span->context());
}

void ListPoller::OnSliceRecorded(const std::shared_ptr<Recording>& recording,
                                 const absl::Status& status) {
  if (status.ok()) recording->outcome.Add(std::exchange(recording->slice, ListOutcome()));
  if (!status.ok() || !recording->reading.more) return OnListRecorded(*recording, status);
  if (!stopped_.ok()) return OnListRecorded(*recording, stopped_);
  std::vector<UpstreamJob> items = reader_->MoreChanged(kListSlice);
  const bool more = reader_->more_changed() > 0;
  if (!more) recording->read.answer.pages = UpstreamList();
  RecordSlice(recording, std::move(items), more);
}

void ListPoller::OnListRecorded(const Recording& recording, const absl::Status& status) {
  const ListRead& read = recording.read;
  const ListOutcome& outcome = recording.outcome;
  recording_ = false;
  if (!status.ok()) {
    // Lists have to say again what has changed; only what the earlier slices left to be asked is
    // asked now.
    ForgetLists();
    Follow(outcome);
    OnListFailed(read, status);
    TakeNextList();
    return listener_.on_step();
  }
  const absl::Time start = read.answer.start_time;
  const absl::Time now = parts_.clock.Now();
  if (parts_.pace.failures() > 0) Log(LogLevel::kInfo, "Segmind's list can be read again");
  last_recorded_ = std::max(last_recorded_, read.number);
  parts_.candidates.Add(outcome.candidates);
  parts_.missing.Note(recording.roll, parts_.recorder.has_unsettled());
  parts_.catalog.SetObserveTime(start, parts_.missing.not_shown());
  parts_.metrics.SetObserveTime(recording.reading.time);
  absl::erase_if(hinted_, [&](const auto& hint) { return hint.second <= start; });
  for (absl::Time time : outcome.hint_times) parts_.metrics.ObserveConfirm(now - time);
  Follow(outcome);
  listener_.on_recorded(
      {.asked = read.asked, .start = start, .roll = recording.roll, .search = outcome.search});
  NoteTooMany(recording);
  if (!outcome.search.uncompared.empty()) ForgetLists();
  TakeNextList();
  listener_.on_step();
}

// Jobs that had no room among the candidates come again with each list until they have.
void ListPoller::NoteTooMany(const Recording& recording) {
  if (recording.roll.all_new || recording.outcome.too_many || !parts_.recorder.has_unsettled())
    too_many_candidates_ = recording.outcome.too_many;
  if (too_many_candidates_) ForgetLists();
}

// Asks for what the list leaves open.
void ListPoller::Follow(const ListOutcome& outcome) {
  details_.Doubt(outcome.doubtful);
  for (const std::string& id : outcome.stale) details_.queue().Add(id, DetailsQueue::kConfirm);
  for (const std::string& id : outcome.pending) details_.queue().Add(id, DetailsQueue::kPending);
  for (const std::string& id : outcome.incomplete) {
    const VersionPtr version = parts_.catalog.FindUpstream(id);
    if (version == nullptr || version->details_known) continue;
    details_.queue().Add(id, DetailsQueue::kBackfill, {}, version->first_revision);
  }
  NoteWords(outcome);
  NoteMarkers(outcome);
}

void ListPoller::NoteWords(const ListOutcome& outcome) {
  const absl::Time now = parts_.clock.Now();
  for (const ListOutcome::UnknownWord& unknown : outcome.unknown_words) {
    // A time in the future comes from another clock.
    const absl::Time since = std::min(parts_.clock.FromWall(unknown.since), now);
    if (!unknown_words_.Note(unknown.upstream_id, unknown.word, since)) continue;
    parts_.metrics.CountUnknownWord();
    Log(LogLevel::kWarning, "Segmind has a word for a job's state that is not known",
        {{"word", unknown.word}, {"upstream_id", unknown.upstream_id}});
  }
}

void ListPoller::NoteMarkers(const ListOutcome& outcome) {
  for (const std::string& id : outcome.without_marker) {
    if (!markers_checked_.insert(id).second) continue;
    parts_.metrics.CountMissingMarker();
    Log(LogLevel::kWarning,
        "Segmind does not show the marker of a job that was submitted: if an answer is lost, its "
        "job is known by prompt, data and time alone",
        {{"upstream_id", id}});
  }
}

void ListPoller::OnListFailed(const ListRead& read, const absl::Status& status) {
  parts_.metrics.CountFailedPoll();
  read.span->Fail(absl::StatusCodeToString(status.code()), std::string(status.message()));
  parts_.pace.OnListFailed(parts_.clock.Now(), RetryDelayOf(status).value_or(absl::ZeroDuration()));
  Log(LogLevel::kWarning, "Segmind's list could not be read or recorded",
      {{"trace_id", read.span->context().TraceId()},
       {"span_id", read.span->context().SpanId()},
       {"error", status.ToString()},
       {"failures", parts_.pace.failures()}});
  listener_.on_failed(read.asked, status);
}

}  // namespace finetune
