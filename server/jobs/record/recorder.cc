#include "server/jobs/record/recorder.h"

#include <malloc.h>

#include <atomic>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/log.h"
#include "server/base/status_macros.h"
#include "server/jobs/record/commit_draft.h"

namespace finetune {
namespace {

// Mutations that share one commit.
constexpr size_t kMaxBatch = 256;
// How often a batch is made anew because another process committed first.
constexpr int kMaxTries = 3;
constexpr absl::Duration kRetryAfter = absl::Seconds(1);
constexpr absl::Duration kKeepIntents = absl::Hours(24 * 7);
constexpr absl::Duration kForgetIntentsEvery = absl::Hours(1);

absl::Status StoreUnavailable(const absl::Status& cause) {
  if (cause.ok() || ReasonOf(cause) == pb::ErrorReason::STORE_UNAVAILABLE) return cause;
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
               absl::StrCat("the store cannot be written: ", cause.message()))
      .RetryAfter(kRetryAfter);
}

absl::Status Stopped() { return absl::CancelledError("the recorder has stopped"); }

}  // namespace

// All of it; the threads' rules are at the members.
class Recorder::Core {
 public:
  Core(Store& store, Catalog& catalog, Clock& clock, Metrics& metrics);

  absl::Status Load();
  void AddListener(CommitListener* listener) { listeners_.push_back(listener); }
  void Record(Mutation mutation, Done done, const TraceContext& trace) ABSL_LOCKS_EXCLUDED(mu_);
  void Probe(Done done) ABSL_LOCKS_EXCLUDED(mu_);
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status store_status() const ABSL_LOCKS_EXCLUDED(mu_);
  bool has_unsettled() const { return has_unsettled_; }

 private:
  struct Item {
    Mutation mutation;
    Done done;
    TraceContext trace;
    bool wrote = false;
  };

  void RunQueue() ABSL_LOCKS_EXCLUDED(mu_);
  void RunBatch(std::vector<Item>& items) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Commit(CommitDraft& draft, const std::vector<Item>& items) ABSL_LOCKS_EXCLUDED(mu_);
  void TraceCommit(const std::vector<Item>& items, absl::Time start, absl::Time end,
                   const absl::Status& status) const;
  void SetWhatToForget(Batch& batch);
  absl::Status CatchUp();
  void Show(const std::vector<ChangePtr>& changes);
  void SetStoreStatus(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  Store& store_;
  Catalog& catalog_;
  Clock& clock_;
  prometheus::Counter& changes_total_;
  prometheus::Histogram& commit_seconds_;
  prometheus::Counter& store_errors_total_;
  std::vector<CommitListener*> listeners_;

  // Recorder's thread only, after Load.
  IntentTable unsettled_;
  CommitDraft::ReadTimes read_times_;
  uint64_t forgotten_through_ = 0;
  absl::Time forget_intents_at_ = absl::InfinitePast();

  // Written by the recorder's thread, as unsettled_ is.
  std::atomic<bool> has_unsettled_{false};

  mutable Mutex mu_;
  // Guarded by mu_.
  std::deque<Item> queue_ ABSL_GUARDED_BY(mu_);
  bool scheduled_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status store_status_ ABSL_GUARDED_BY(mu_);

  Worker worker_;
};

Recorder::Core::Core(Store& store, Catalog& catalog, Clock& clock, Metrics& metrics)
    : store_(store),
      catalog_(catalog),
      clock_(clock),
      changes_total_(metrics.Counter("finetune_gateway_changes_total",
                                     "Changes of fine-tunes that were committed.")),
      commit_seconds_(metrics.Histogram("finetune_gateway_store_commit_seconds",
                                        "How long a commit took.", kLatencyBuckets)),
      store_errors_total_(metrics.Counter("finetune_gateway_store_errors_total",
                                          "Commits and probes that the store refused.")),
      worker_("recorder") {}

absl::Status Recorder::Core::Load() {
  {
    ASSIGN_OR_RETURN(const StoreState state, store_.Load());
    RETURN_IF_ERROR(catalog_.Load(state));
    for (const record::Intent& intent : state.unsettled_intents) unsettled_.Put(intent);
    has_unsettled_ = !unsettled_.all().empty();
  }
  forgotten_through_ = catalog_.window_start();
  // The serialised records were as large as what is kept: give that back.
  malloc_trim(0);
  return absl::OkStatus();
}

void Recorder::Core::Record(Mutation mutation, Done done, const TraceContext& trace) {
  {
    MutexLock lock(mu_);
    if (!stopped_) {
      queue_.push_back({std::move(mutation), std::move(done), trace});
      if (!scheduled_) scheduled_ = worker_.Post([this] { RunQueue(); });
      return;
    }
  }
  std::move(done)(Stopped());
}

void Recorder::Core::Probe(Done done) {
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

void Recorder::Core::Stop() {
  {
    MutexLock lock(mu_);
    stopped_ = true;
  }
  worker_.Stop();
}

absl::Status Recorder::Core::store_status() const {
  MutexLock lock(mu_);
  return store_status_;
}

void Recorder::Core::SetStoreStatus(const absl::Status& status) {
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

void Recorder::Core::RunQueue() {
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
    RunBatch(items);
    items.clear();
  }
}

void Recorder::Core::RunBatch(std::vector<Item>& items) {
  std::vector<absl::Status> results;
  absl::Status committed;
  for (int tries = 1;; ++tries) {
    CommitDraft draft(catalog_, store_, unsettled_, read_times_, clock_.Now());
    results.clear();
    for (Item& item : items) {
      const size_t before = draft.writes();
      results.push_back(draft.EndMutation(item.mutation(draft)));
      item.wrote = draft.writes() > before;
    }
    committed = draft.empty() ? absl::OkStatus() : Commit(draft, items);
    if (committed.ok()) {
      draft.ApplyIntents(unsettled_);
      has_unsettled_ = !unsettled_.all().empty();
      Show(draft.changes());
      for (const auto& [id, time] : draft.newer_read_times()) {
        absl::Time& known = read_times_.try_emplace(id, time).first->second;
        known = std::max(known, time);
      }
      break;
    }
    if (!absl::IsAborted(committed) || tries == kMaxTries) break;
    if (absl::Status caught_up = CatchUp(); !caught_up.ok()) {
      committed = caught_up;
      break;
    }
  }
  // A mutation's own error may rest on what another one of the batch put, and that is lost too.
  committed = StoreUnavailable(committed);
  for (size_t i = 0; i < items.size(); ++i) {
    std::move(items[i].done)(committed.ok() ? std::move(results[i]) : committed);
  }
}

absl::Status Recorder::Core::Commit(CommitDraft& draft, const std::vector<Item>& items) {
  Batch batch = draft.TakeBatch();
  SetWhatToForget(batch);
  const absl::Time start = absl::Now();
  absl::Status status = store_.Commit(batch);
  const absl::Time end = absl::Now();
  commit_seconds_.Observe(absl::ToDoubleSeconds(end - start));
  TraceCommit(items, start, end, status);
  if (status.ok()) {
    forgotten_through_ = std::max(forgotten_through_, batch.forget_changes_through);
    if (batch.forget_intents_before != absl::InfinitePast()) {
      forget_intents_at_ = draft.now() + kForgetIntentsEvery;
    }
  }
  if (!absl::IsAborted(status)) SetStoreStatus(status);
  return status;
}

// One commit may serve many traces: each that has something in it gets a span of it.
void Recorder::Core::TraceCommit(const std::vector<Item>& items, absl::Time start, absl::Time end,
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

void Recorder::Core::SetWhatToForget(Batch& batch) {
  const uint64_t revision = batch.base_revision + batch.changes.size();
  const size_t kept = catalog_.options().window_changes;
  const uint64_t through = std::max(catalog_.window_start(), revision > kept ? revision - kept : 0);
  if (through > forgotten_through_) batch.forget_changes_through = through;
  const absl::Time now = clock_.Now();
  if (now >= forget_intents_at_) batch.forget_intents_before = now - kKeepIntents;
}

// Another process committed, or a commit that failed turned out to be there.
absl::Status Recorder::Core::CatchUp() {
  ASSIGN_OR_RETURN(const StoreState state, store_.Load());
  const uint64_t known = catalog_.view()->revision();
  if (state.epoch != catalog_.epoch() || state.revision < known ||
      state.revision - known > state.changes.size()) {
    return absl::UnavailableError("the store has another history: restart to load it");
  }
  std::vector<ChangePtr> changes;
  absl::flat_hash_map<std::string, VersionPtr> latest;
  for (size_t i = state.changes.size() - (state.revision - known); i < state.changes.size(); ++i) {
    const StoredChange& stored = state.changes[i];
    VersionPtr after = ParseVersion(stored.after);
    if (after == nullptr) return absl::DataLossError("the store holds a change of no fine-tune");
    VersionPtr& before = latest.try_emplace(stored.fine_tune_id, nullptr).first->second;
    if (before == nullptr) before = catalog_.Find(stored.fine_tune_id);
    changes.push_back(std::make_shared<Change>(after, before, stored.time,
                                               EncodeResumeToken({state.epoch, stored.revision})));
    before = std::move(after);
  }
  unsettled_.Clear();
  for (const record::Intent& intent : state.unsettled_intents) unsettled_.Put(intent);
  has_unsettled_ = !unsettled_.all().empty();
  Show(changes);
  return absl::OkStatus();
}

void Recorder::Core::Show(const std::vector<ChangePtr>& changes) {
  if (changes.empty()) return;
  for (const ChangePtr& change : changes) read_times_.erase(change->after()->id);
  catalog_.Apply(changes);
  changes_total_.Increment(static_cast<double>(changes.size()));
  for (CommitListener* listener : listeners_) listener->OnCommitted(changes);
}

Recorder::Recorder(Store& store, Catalog& catalog, Clock& clock, Metrics& metrics)
    : core_(std::make_unique<Core>(store, catalog, clock, metrics)) {}

Recorder::~Recorder() { Stop(); }

absl::Status Recorder::Load() { return core_->Load(); }

void Recorder::AddListener(CommitListener* listener) { core_->AddListener(listener); }

void Recorder::Record(Mutation mutation, Done done, const TraceContext& trace) {
  core_->Record(std::move(mutation), std::move(done), trace);
}

void Recorder::Stop() { core_->Stop(); }

absl::Status Recorder::store_status() const { return core_->store_status(); }

bool Recorder::has_unsettled() const { return core_->has_unsettled(); }

void Recorder::Probe(Done done) { core_->Probe(std::move(done)); }

}  // namespace finetune
