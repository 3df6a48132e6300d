#include <algorithm>
#include <utility>

#include "server/base/error.h"
#include "server/base/log.h"
#include "server/jobs/tracking/tracker_core.h"

namespace finetune {
namespace {

// For a list with all its tries.
constexpr absl::Duration kListDeadline = absl::Seconds(150);
// Bytes that are read sooner than another thread is woken.
constexpr size_t kShortList = size_t{64} << 10;
// A job has to be missing from so many lists before its details are asked for.
constexpr int kMissingLists = 2;
// How often all jobs are compared with the list. What lists stop to show is noticed at once; this
// finds jobs that no list ever showed.
constexpr absl::Duration kFindMissingEvery = absl::Minutes(10);

}  // namespace

void Tracker::Core::StartList(absl::Time now) {
  const uint64_t read = ++last_read_;
  auto span = std::make_shared<Span>(
      options_.tracer ? options_.tracer->Start(now, SpanKind::kInternal, "poll", {}) : Span());
  reads_[read] = {.asked = now, .span = span, .answer = {}};
  last_list_start_ = now;
  segmind_.GetList({now + kListDeadline, span->context()},
                   [self = shared_from_this(), read](absl::StatusOr<ListAnswer> answer) {
                     auto shared = std::make_shared<absl::StatusOr<ListAnswer>>(std::move(answer));
                     Core* core = self.get();
                     const bool is_short = shared->ok() && (*shared)->pages.bytes() <= kShortList;
                     auto task = [core, read, shared] { core->OnList(read, std::move(*shared)); };
                     if (is_short)
                       core->RunOrPost(std::move(task));
                     else
                       core->Post(std::move(task));
                   });
}

void Tracker::Core::OnList(uint64_t read, absl::StatusOr<ListAnswer> answer) {
  ListRead ended = std::move(reads_.at(read));
  reads_.erase(read);
  if (answer.ok()) {
    ended.answer = *std::move(answer);
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
    if (read.answer.start_time < recorded_start_) continue;
    absl::StatusOr<ListDelta> delta = reader_.Read(read.answer.pages);
    read.answer.pages = UpstreamList();
    if (delta.ok()) {
      RecordDelta(read, *std::move(delta));
    } else {
      OnListFailed(read, delta.status());
    }
  }
}

// A list that lost more than half of what is known to be there may be a glitch, and so may one in
// which more than usual cannot be read: what it lacks proves nothing.
bool Tracker::Core::IsTrusted(const ListDelta& delta) const {
  return delta.total * 2 >= trusted_total_ && (reader_is_new_ || delta.skipped <= usual_skipped_);
}

void Tracker::Core::RecordDelta(const ListRead& read, ListDelta delta) {
  recording_ = true;
  (delta.unchanged ? polls_unchanged_ : polls_changed_).Increment();
  if (delta.skipped > 0) {
    Log(LogLevel::kWarning, "items of Segmind's list cannot be read", {{"items", delta.skipped}});
  }
  Presence presence{.gone = std::move(delta.gone),
                    .total = delta.total,
                    .trusted = IsTrusted(delta),
                    .all_new = std::exchange(reader_is_new_, false)};
  if (!presence.trusted) {
    Log(LogLevel::kWarning,
        "Segmind's list lacks too much to be trusted: what it lacks is not taken for gone",
        {{"items", delta.total}, {"expected", trusted_total_}, {"unreadable", delta.skipped}});
  }
  // The item that cannot be read may be the one that is looked for.
  if (unsettled_ == 0 || presence.all_new) usual_skipped_ = delta.skipped;
  auto batch = std::make_shared<ListBatch>();
  batch->start_time = read.answer.start_time;
  batch->items = std::move(delta.changed);
  absl::flat_hash_set<std::string> changed;
  if (!held_.empty()) {
    for (const UpstreamJob& item : batch->items) changed.insert(item.id);
  }
  for (UpstreamJob& item : held_) {
    if (!changed.contains(item.id) && reader_.Has(item.id)) batch->items.push_back(item);
  }
  for (const UpstreamJob& item : batch->items) doubtful_.erase(item.id);
  batch->held_since = held_since_;
  batch->hinted = hinted_;
  batch->rejected = rejected_;
  batch->counts_absence = presence.trusted;
  // The reader stays as it is until this is recorded.
  batch->has = [this](const std::string& id) { return reader_.Has(id); };
  batch->settle_lists = options_.settle_lists;
  batch->settle_time = options_.settle_time;
  read.span->Set("finetune.list.items", static_cast<int64_t>(delta.total));
  read.span->Set("finetune.list.changed", static_cast<int64_t>(batch->items.size()));
  auto outcome = std::make_shared<ListOutcome>();
  // Most reads have no news: who waits for one need not wait for the recorder's thread, too.
  if (batch->items.empty() && !recorder_.has_unsettled())
    return OnListRecorded(read, *batch, presence, *outcome, absl::OkStatus());
  recorder_.Record([batch, outcome, &catalog = catalog_](
                       Draft& draft) { return RecordList(*batch, catalog, draft, *outcome); },
                   [self = shared_from_this(), read, batch, outcome,
                    presence = std::move(presence)](const absl::Status& status) {
                     Core* core = self.get();
                     core->Post([core, read, batch, outcome, presence, status] {
                       core->OnListRecorded(read, *batch, presence, *outcome, status);
                     });
                   },
                   read.span->context());
}

void Tracker::Core::OnListRecorded(const ListRead& read, const ListBatch& batch,
                                   const Presence& presence, const ListOutcome& outcome,
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
  const absl::Time start = batch.start_time;
  recorded_start_ = std::max(recorded_start_, start);
  catalog_.SetObserveTime(start);
  observe_time_.Set(absl::ToDoubleSeconds(start - absl::UnixEpoch()));
  if (failures_ > 0) Log(LogLevel::kInfo, "Segmind's list can be read again");
  failures_ = 0;
  backoff_.Reset();
  unsettled_ = outcome.unsettled;
  unsettled_gauge_.Set(unsettled_);
  held_ = outcome.held;
  held_since_ = outcome.held_since;
  candidates_ = outcome.candidates;
  absl::erase_if(rejected_, [&](const Candidate& c) { return !reader_.Has(c.upstream_id); });
  absl::erase_if(hinted_, [&](const auto& hint) { return hint.second <= start; });
  const absl::Time now = clock_.Now();
  for (absl::Time time : outcome.hint_times) {
    confirm_seconds_.Observe(absl::ToDoubleSeconds(now - time));
  }
  doubtful_.insert(outcome.doubtful.begin(), outcome.doubtful.end());
  for (const std::string& id : doubtful_) details_.Add(id, DetailsQueue::kConfirm);
  for (const std::string& id : outcome.stale) details_.Add(id, DetailsQueue::kConfirm);
  for (const Candidate& c : candidates_) details_.Add(c.upstream_id, DetailsQueue::kSettle);
  for (const std::string& id : outcome.incomplete) {
    const VersionPtr version = catalog_.FindUpstream(id);
    if (version == nullptr || version->details_known) continue;
    details_.Add(id, DetailsQueue::kBackfill, {}, version->first_revision);
  }
  NoteMissing(presence, now);
  next_poll_ = std::max(read.asked, start) + PollInterval();
  FinishRefreshes(start, absl::OkStatus());
  TellSettled(outcome.settled);
  TakeNextList();
  Pump();
}

void Tracker::Core::OnListFailed(const ListRead& read, const absl::Status& status) {
  polls_failed_.Increment();
  read.span->Fail(absl::StatusCodeToString(status.code()), std::string(status.message()));
  ++failures_;
  Log(LogLevel::kWarning, "Segmind's list could not be read or recorded",
      {{"trace_id", read.span->context().TraceId()},
       {"span_id", read.span->context().SpanId()},
       {"error", status.ToString()},
       {"failures", failures_}});
  const absl::Duration delay =
      std::max(backoff_.Next(), RetryDelayOf(status).value_or(absl::ZeroDuration()));
  next_poll_ = clock_.Now() + delay;
  FinishRefreshes(read.asked, status);
}

void Tracker::Core::NoteMissing(const Presence& presence, absl::Time now) {
  absl::erase_if(missing_, [this](const auto& entry) { return reader_.Has(entry.first); });
  for (auto& [id, lists] : missing_) ++lists;
  for (const std::string& id : presence.gone) missing_.try_emplace(id, 1);
  if (presence.all_new || now - missing_found_ >= kFindMissingEvery) {
    missing_found_ = now;
    FindMissing();
  }
  CheckMissing(presence);
}

void Tracker::Core::FindMissing() {
  const ViewPtr view = catalog_.view();
  for (size_t i = 0; i < view->size(); ++i) {
    const FineTuneVersion& version = *view->at(i);
    if (version.upstream_id.empty() || version.state == pb::FineTune::LOST ||
        reader_.Has(version.upstream_id) ||
        (!version.upstream_request_id.empty() && reader_.Has(version.upstream_request_id))) {
      continue;
    }
    missing_.try_emplace(version.upstream_id, 1);
  }
}

void Tracker::Core::CheckMissing(const Presence& presence) {
  if (presence.trusted) trusted_total_ = presence.total;
  for (auto it = missing_.begin(); it != missing_.end();) {
    const VersionPtr version = catalog_.FindUpstream(it->first);
    const bool known = version != nullptr && version->state != pb::FineTune::LOST;
    const bool has_other_name =
        known &&
        ((version->upstream_id != it->first && reader_.Has(version->upstream_id)) ||
         (!version->upstream_request_id.empty() && reader_.Has(version->upstream_request_id)));
    if (!known || has_other_name) {
      missing_.erase(it++);
      continue;
    }
    if (it->second >= kMissingLists) details_.Add(it->first, DetailsQueue::kGone);
    ++it;
  }
}

void Tracker::Core::TellSettled(const std::vector<std::string>& ids) {
  if (!settled_listener_) return;
  for (const std::string& id : ids) settled_listener_(id);
}

}  // namespace finetune
