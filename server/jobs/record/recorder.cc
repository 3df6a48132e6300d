#include "server/jobs/record/recorder.h"

#include <malloc.h>

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/jobs/record/settle.h"

namespace finetune {
namespace {

// The most mutations that share a commit.
constexpr size_t kMaxBatch = 256;
constexpr absl::Duration kRetryAfter = absl::Seconds(1);
// How often a turn is begun again to catch up with other processes.
constexpr int kMaxCatchUps = 5;

absl::Status StoreUnavailable(const absl::Status& cause) {
  if (cause.ok() || ReasonOf(cause) == pb::ErrorReason::STORE_UNAVAILABLE) return cause;
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
               absl::StrCat("the store cannot be written: ", cause.message()))
      .RetryAfter(kRetryAfter);
}

absl::Status Stopped() { return absl::CancelledError("the recorder has stopped"); }

}  // namespace

Recorder::Recorder(Store& store, Catalog& catalog, Clock& clock, Metrics& metrics)
    : Recorder(Options(), store, catalog, clock, metrics) {}

Recorder::Recorder(const Options& options, Store& store, Catalog& catalog, Clock& clock,
                   Metrics& metrics)
    : options_(options),
      store_(store),
      catalog_(catalog),
      clock_(clock),
      changes_total_(metrics.Counter("finetune_gateway_changes_total",
                                     "Changes of fine-tunes that were committed.")),
      commit_seconds_(metrics.Histogram("finetune_gateway_store_commit_seconds",
                                        "How long a commit took.", kLatencyBuckets)),
      store_errors_total_(metrics.Counter("finetune_gateway_store_errors_total",
                                          "Commits and probes that the store refused.")),
      lost_(catalog, clock, metrics),
      forgetting_(options.forget_lost_after, catalog, clock, metrics),
      worker_("recorder") {}

Recorder::~Recorder() { Stop(); }

void Recorder::AddListener(CommitListener* listener) {
  MutexLock lock(mu_);
  listeners_.push_back(listener);
}

absl::Status Recorder::Load() {
  {
    ASSIGN_OR_RETURN(const StoreState state, store_.Load());
    RETURN_IF_ERROR(TakeState(state));
    lost_.Load(state.lost);
    marker_key_ = state.marker_key;
  }
  // The serialised records took as much memory as what is kept: give it back.
  malloc_trim(0);
  store_.Follow([this] {
    MutexLock lock(mu_);
    if (!stopped_) PostFollow(nullptr);
  });
  return absl::OkStatus();
}

absl::Status Recorder::TakeState(const StoreState& state) {
  if (state.clock) catalog_.numbers().SetClock(*state.clock);
  RETURN_IF_ERROR(catalog_.Load(state));
  unsettled_.Clear();
  reads_.clear();
  ShowIntents(state.unsettled_intents);
  point_ = state.point;
  forgetting_.OnLoaded();
  return absl::OkStatus();
}

absl::Status Recorder::Reload() {
  ASSIGN_OR_RETURN(const StoreState state, store_.Load());
  Log(LogLevel::kWarning, "the record is loaded anew: what came between is not kept",
      {{"revision", catalog_.view()->revision()}, {"now", state.point.revision}});
  lost_.NoteReloaded(state, point_);
  for (CommitListener* listener : Listeners()) listener->OnReloading();
  absl::Status taken = TakeState(state);
  for (CommitListener* listener : Listeners()) listener->OnReloaded();
  return taken;
}

bool Recorder::IsAwaited() const {
  return lost_.IsAwaited() || (members_ && !members_->ended.empty());
}

void Recorder::PostFollow(Done done) {
  if (done) catching_up_.push_back(std::move(done));
  if (!following_) following_ = worker_.Post([this] { FollowStore(); });
}

void Recorder::CatchUp(Done done) {
  if (!store_.is_shared()) return std::move(done)(absl::OkStatus());
  {
    MutexLock lock(mu_);
    if (!stopped_) return PostFollow(std::move(done));
  }
  std::move(done)(Stopped());
}

void Recorder::Record(Mutation mutation, Done done, const TraceContext& trace, TurnNeeds needs) {
  {
    MutexLock lock(mu_);
    if (!stopped_) {
      queue_.push_back({.mutation = std::move(mutation),
                        .done = std::move(done),
                        .trace = trace,
                        .needs = std::move(needs)});
      if (!scheduled_) scheduled_ = worker_.Post([this] { RunQueue(); });
      return;
    }
  }
  std::move(done)(Stopped());
}

void Recorder::Probe(Done done) {
  {
    MutexLock lock(mu_);
    if (!stopped_) {
      worker_.Post([this, done = std::move(done)]() mutable {
        absl::Status status = store_status();
        if (!status.ok()) {
          status = StoreUnavailable(store_.CheckWritable());
          SetStoreStatus(status);
        }
        std::move(done)(std::move(status));
      });
      return;
    }
  }
  std::move(done)(Stopped());
}

void Recorder::Stop() {
  {
    MutexLock lock(mu_);
    stopped_ = true;
  }
  store_.Follow(nullptr);
  worker_.Stop();
}

absl::Status Recorder::store_status() const {
  MutexLock lock(mu_);
  return store_status_;
}

void Recorder::SetStoreStatus(const absl::Status& status) {
  bool changed = false;
  {
    MutexLock lock(mu_);
    changed = store_status_.ok() != status.ok();
    store_status_ = status;
  }
  if (!status.ok()) store_errors_total_.Increment();
  if (!changed) return;
  if (status.ok()) {
    Log(LogLevel::kInfo, "the store can be written again");
  } else {
    Log(LogLevel::kError, "the store cannot be written", {{"error", status.ToString()}});
  }
}

void Recorder::RunQueue() {
  std::vector<Item> items;
  while (true) {
    {
      MutexLock lock(mu_);
      if (queue_.empty()) {
        scheduled_ = false;
        return;
      }
      const auto end = queue_.begin() + static_cast<ptrdiff_t>(std::min(queue_.size(), kMaxBatch));
      items.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
      queue_.erase(queue_.begin(), end);
    }
    // A mutation's error may be due to what another one in the same commit put, which is lost with
    // the commit.
    const absl::Status status = StoreUnavailable(RunTurn(items));
    for (Item& item : items) std::move(item.done)(status.ok() ? item.result : status);
    items.clear();
  }
}

absl::Status Recorder::RunTurn(std::vector<Item>& items) {
  ASSIGN_OR_RETURN(const std::optional<LeaderTerm> leader, BeginTurn(items));
  const absl::Status refusal = lost_.WhyNotSubmit();
  CommitDraft draft({.catalog = catalog_,
                     .store = store_,
                     .unsettled = unsettled_,
                     .reads = reads_,
                     .refusal = refusal,
                     .marker_key = marker_key_,
                     .owner = owner_},
                    catalog_.numbers().SharedTime(clock_.Now()).value_or(clock_.WallNow()));
  lost_.BringThemBack(draft);
  SettleOwnerless(draft);
  for (Item& item : items) {
    if (item.needs.term && leader && *item.needs.term != *leader) {
      item.result = absl::AbortedError("another gateway leads by now");
      continue;
    }
    const size_t before = draft.writes();
    item.result = draft.EndMutation(item.mutation(draft));
    item.wrote = draft.writes() > before;
  }
  forgetting_.ForgetLostJobs(draft);
  if (draft.empty() && !IsAwaited()) {
    store_.Abandon();
  } else {
    RETURN_IF_ERROR(Commit(draft, items));
    ++point_.seq;
    ShowIntents(draft.intents());
    Show(draft.changes());
    TellOfIntents(draft.intents());
    lost_.OnCommitted();
  }
  for (const auto& [id, read] : draft.newer_reads()) {
    uint64_t& known = reads_[id];
    known = std::max(known, read);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<LeaderTerm>> Recorder::BeginTurn(const std::vector<Item>& items) {
  TurnNeeds needs;
  for (const Item& item : items) {
    needs.intents.insert(needs.intents.end(), item.needs.intents.begin(), item.needs.intents.end());
    needs.spenders.insert(needs.spenders.end(), item.needs.spenders.begin(),
                          item.needs.spenders.end());
  }
  std::optional<LeaderTerm> leader;
  absl::Status status = AskIfOpen();
  if (status.ok()) {
    auto begun = BeginUpToDate(needs);
    status = begun.status();
    if (status.ok()) leader = *std::move(begun);
    owner_ = store_.membership().id();
  }
  if (!status.ok()) {
    SetStoreStatus(StoreUnavailable(status));
    return status;
  }
  return leader;
}

absl::StatusOr<std::optional<LeaderTerm>> Recorder::BeginUpToDate(const TurnNeeds& needs) {
  for (int tries = 0; tries < kMaxCatchUps; ++tries) {
    ASSIGN_OR_RETURN(const StoreNews news, store_.Begin(point_, needs));
    if (news.must_load || news.is_behind) {
      RETURN_IF_ERROR(news.must_load ? Reload() : ReadNews());
      continue;
    }
    if (absl::Status taken = TakeIn(news); !taken.ok()) {
      store_.Abandon();
      return taken;
    }
    return news.leader;
  }
  return absl::UnavailableError("others write faster than this gateway can read");
}

absl::Status Recorder::ReadNews() {
  ASSIGN_OR_RETURN(StoreNews news, store_.Read(point_));
  if (news.must_load) {
    RETURN_IF_ERROR(Reload());
    // Read() tells more than the record holds.
    ASSIGN_OR_RETURN(news, store_.Read(point_));
  }
  return news.must_load ? Reload() : TakeIn(news);
}

// If the commit was written, it comes with the turn's news.
absl::Status Recorder::AskIfOpen() {
  if (!open_) return absl::OkStatus();
  const absl::StatusOr<bool> written = store_.Settle();
  open_ = !written.ok();
  return written.status();
}

absl::Status Recorder::Commit(CommitDraft& draft, const std::vector<Item>& items) {
  StoreBatch batch = draft.TakeBatch();
  if (members_) batch.ended_members = members_->ended;
  lost_.Describe(batch);
  forgetting_.Describe(point_, batch);
  const absl::Time start = SteadyNow();
  CommitOutcome outcome = store_.Commit(batch);
  if (outcome.kind == CommitOutcome::Kind::kOpen) outcome.why = Settle(outcome.why);
  const absl::Time end = SteadyNow();
  commit_seconds_.Observe(absl::ToDoubleSeconds(end - start));
  TraceCommit(items, start, end, outcome.why);
  if (outcome.why.ok()) forgetting_.OnCommitted(point_, batch);
  SetStoreStatus(StoreUnavailable(outcome.why));
  return outcome.why;
}

// Only this thread and writers wait; reads go on. When the patience is over, the news of the next
// turn shows whether it was written.
absl::Status Recorder::Settle(const absl::Status& why) {
  const absl::Time until = SteadyNow() + options_.open_patience;
  while (true) {
    const absl::StatusOr<bool> written = store_.Settle();
    open_ = !written.ok();
    if (!open_) return *written ? absl::OkStatus() : why;
    if (SteadyNow() + options_.ask_again_after > until) return why;
    absl::SleepFor(options_.ask_again_after);
  }
}

// A commit may serve many traces; each of them gets a span of it.
void Recorder::TraceCommit(const std::vector<Item>& items, absl::Time start, absl::Time end,
                           const absl::Status& status) const {
  for (const Item& item : items) {
    if (!item.wrote) continue;
    Span span = item.trace.StartSpanAt(start, SpanKind::kClient, "store commit");
    if (!span.recording()) continue;
    span.Set("db.system", store_.system());
    span.Set("db.operation.name", "COMMIT");
    span.Set("db.operation.batch.size", static_cast<int64_t>(items.size()));
    if (!status.ok()) {
      const absl::string_view why = status.message();
      span.Fail(absl::StatusCodeToString(status.code()), std::string_view(why.data(), why.size()));
    }
    span.EndAt(end);
  }
}

void Recorder::FollowStore() {
  std::vector<Done> waiting;
  {
    MutexLock lock(mu_);
    following_ = false;
    waiting.swap(catching_up_);
  }
  absl::Status status = AskIfOpen();
  if (status.ok()) status = ReadNews();
  status = StoreUnavailable(status);
  // Only a turn tells whether the store can be written; that it can be read says little.
  for (Done& done : waiting) std::move(done)(status);
  if (status.ok() && IsAwaited())
    Record([](Draft&) { return absl::OkStatus(); }, [](const absl::Status&) {}, {}, {});
}

// The owners' POSTs may still be under way: an outcome that comes later is recorded, whoever brings
// it.
void Recorder::SettleOwnerless(CommitDraft& draft) {
  if (!members_) return;
  const auto is_ownerless = [&](const record::Intent& intent) {
    return intent.state() == record::Intent::PREPARED &&
           !store_.membership().IsMine(intent.owner()) &&
           !absl::c_linear_search(members_->live, intent.owner());
  };
  // Every turn comes here and seldom finds one, so look before copying.
  if (absl::c_none_of(unsettled_.all(), [&](const auto& one) { return is_ownerless(one.second); }))
    return;
  for (record::Intent& intent : draft.UnsettledIntents()) {
    if (!is_ownerless(intent)) continue;
    BecomeUnknown(draft, std::move(intent), "the gateway that submitted it ended",
                  catalog_.numbers().NotBeforeNow());
  }
  (void)draft.EndMutation(absl::OkStatus());
}

absl::Status Recorder::TakeIn(const StoreNews& news) {
  if (news.clock) catalog_.numbers().SetClock(*news.clock);
  if (news.members) members_ = news.members;
  lost_.set_caution(news.caution);
  if (news.point == point_) return absl::OkStatus();
  if (news.lineage) catalog_.SetLineage(*news.lineage);
  std::vector<ChangePtr> changes;
  absl::flat_hash_map<std::string, VersionPtr> latest;
  for (const StoredChange& stored : news.changes) {
    VersionPtr before;
    if (auto it = latest.find(stored.fine_tune_id); it != latest.end()) {
      before = it->second;
    } else {
      before = catalog_.Find(stored.fine_tune_id);
    }
    ChangePtr change = ParseChange(stored, std::move(before), catalog_.PointAt(stored.revision));
    if (change == nullptr || stored.revision != point_.revision + changes.size() + 1)
      return absl::DataLossError("the store holds a change that fits no fine-tune");
    latest[stored.fine_tune_id] = stored.forgotten ? nullptr : change->after();
    changes.push_back(std::move(change));
  }
  if (news.point.revision != point_.revision + changes.size())
    return absl::DataLossError("the store lacks changes");
  ShowIntents(news.intents);
  Show(changes);
  point_ = news.point;
  TellOfIntents(news.intents);
  return absl::OkStatus();
}

void Recorder::Show(const std::vector<ChangePtr>& changes) {
  if (changes.empty()) return;
  point_.revision = changes.back()->revision();
  for (const ChangePtr& change : changes) reads_.erase(change->after()->id);
  catalog_.Apply(changes);
  changes_total_.Increment(static_cast<double>(changes.size()));
  for (CommitListener* listener : Listeners()) listener->OnCommitted(changes);
}

void Recorder::ShowIntents(const std::vector<record::Intent>& intents) {
  for (const record::Intent& intent : intents) {
    unsettled_.Put(intent);
    catalog_.NoteRead(std::max(intent.prepared_read(), intent.unknown_read()));
  }
  has_unsettled_ = !unsettled_.all().empty();
}

void Recorder::TellOfIntents(const std::vector<record::Intent>& intents) {
  if (intents.empty()) return;
  if (store_.is_shared()) lost_.NoteCommitted(point_.seq, intents);
  for (CommitListener* listener : Listeners()) listener->OnIntents(intents);
}

}  // namespace finetune
