#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/base/mutex.h"
#include "server/store/store.h"
#include "tests/jobs/memory_ledger.h"

namespace finetune {

// One record in memory that several processes share, and what may go wrong with it. Thread-safe.
class SharedRecord {
 public:
  // How likely each is at a commit, or at a question after one whose answer was lost.
  struct Faults {
    double refused = 0;       // Nothing is written, and that is known.
    double open_written = 0;  // Written; the answer is lost.
    double open_lost = 0;     // Not written; the answer is lost, too.
    double still_open = 0;    // Settle finds nobody who could tell.
    double away = 0;          // Begin finds no database.
  };

  explicit SharedRecord(unsigned seed = 1) : random_(seed) {
    lineage_ = Lineage({Era{.id = 1'000}});
    point_.era = 1'000;
  }

  void SetFaults(const Faults& faults) {
    MutexLock lock(mu_);
    faults_ = faults;
  }
  StorePoint point() const {
    MutexLock lock(mu_);
    return point_;
  }
  // Every change there ever was, by revision.
  std::vector<StoredChange> log() const {
    MutexLock lock(mu_);
    return log_;
  }
  MemoryLedger ledger() const {
    MutexLock lock(mu_);
    return ledger_;
  }
  std::vector<record::Intent> intents() const {
    MutexLock lock(mu_);
    std::vector<record::Intent> all;
    for (const auto& [key, intent] : intents_) all.push_back(intent);
    return all;
  }

  // A take-over: from the next turn on this one leads.
  void SetLeader(LeaderTerm term) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    while (turn_) turn_ended_.Wait(mu_);
    leader_ = std::move(term);
  }

  // Its time has run out: it will not be heard of again.
  void End(const std::string& member) {
    MutexLock lock(mu_);
    live_.erase(member);
    ended_.insert(member);
  }

  // As the look that each process takes now and then.
  void Wake() ABSL_LOCKS_EXCLUDED(mu_) { WakeOthers(0); }

  // A failover that lost the commits after `seq`, and began an era. What was submitted before is
  // shown by lists that begin after `listed_by`.
  void LoseTail(uint64_t seq, absl::Time listed_by = absl::InfinitePast()) ABSL_LOCKS_EXCLUDED(mu_);

  // Its clock is the steady one, from now on.
  void GiveClock() {
    MutexLock lock(mu_);
    has_clock_ = true;
  }

  // From now on nobody is told of others' commits before it asks.
  void SetQuiet(bool quiet) {
    MutexLock lock(mu_);
    quiet_ = quiet;
  }

 private:
  friend class SharedMemoryStore;

  struct Commit {
    StorePoint point;  // After it.
    std::vector<record::Intent> intents;
    uint64_t by = 0;
    uint64_t batch = 0;
    MemoryLedger::Part ledger;
    std::vector<std::string> ended_members;
  };

  static StoreClock Clock() {
    const absl::Time now = SteadyNow();
    return {.time = now, .asked = now, .answered = now};
  }
  bool Happens(double probability) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return std::bernoulli_distribution(probability)(random_);
  }
  StoreNews NewsSince(const StorePoint& known, const std::string& me)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Write(const StoreBatch& batch, uint64_t by, uint64_t number, const std::string& me)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Rebuild() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WakeOthers(uint64_t by) ABSL_LOCKS_EXCLUDED(mu_);

  mutable Mutex mu_;
  CondVar turn_ended_;
  std::mt19937 random_ ABSL_GUARDED_BY(mu_);
  Faults faults_ ABSL_GUARDED_BY(mu_);
  std::optional<uint64_t> turn_ ABSL_GUARDED_BY(mu_);  // Whose.
  Lineage lineage_ ABSL_GUARDED_BY(mu_);
  StorePoint point_ ABSL_GUARDED_BY(mu_);
  LeaderTerm leader_ ABSL_GUARDED_BY(mu_);
  std::vector<StoredChange> log_ ABSL_GUARDED_BY(mu_);
  std::vector<Commit> commits_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::pair<uint64_t, std::string>> records_ ABSL_GUARDED_BY(mu_);
  std::map<IntentKey, record::Intent> intents_ ABSL_GUARDED_BY(mu_);
  MemoryLedger ledger_ ABSL_GUARDED_BY(mu_);
  std::map<uint64_t, std::function<void()>> wakes_ ABSL_GUARDED_BY(mu_);
  uint64_t eras_made_ ABSL_GUARDED_BY(mu_) = 1'000;
  uint64_t processes_ ABSL_GUARDED_BY(mu_) = 0;
  std::set<std::string> live_ ABSL_GUARDED_BY(mu_);
  std::set<std::string> ended_ ABSL_GUARDED_BY(mu_);
  bool has_clock_ ABSL_GUARDED_BY(mu_) = false;
  bool quiet_ ABSL_GUARDED_BY(mu_) = false;
  // As StoreCaution: whose commits the era awaits; the empty name is of what was lost.
  std::set<std::string> awaits_ ABSL_GUARDED_BY(mu_);
  absl::Time listed_by_ ABSL_GUARDED_BY(mu_);
  // Held while wakes run, so that none runs once its store has let go.
  Mutex wake_mu_;
};

// One process's way to a shared record.
class SharedMemoryStore : public Store {
 public:
  explicit SharedMemoryStore(SharedRecord& record) : record_(record) {
    MutexLock lock(record_.mu_);
    me_ = ++record_.processes_;
    membership().Join(std::to_string(me_), absl::InfiniteFuture());
    record_.live_.insert(membership().id());
  }
  ~SharedMemoryStore() override {
    Follow(nullptr);
    EndTurn();
  }

  bool is_shared() const override { return true; }
  std::string_view system() const override { return "memory"; }

  absl::StatusOr<StoreState> Load() override {
    MutexLock lock(record_.mu_);
    StoreState state;
    state.epoch = "shared";
    if (record_.has_clock_) state.clock = SharedRecord::Clock();
    state.lineage = record_.lineage_;
    state.point = record_.point_;
    std::map<uint64_t, std::string> in_order;
    for (const auto& [id, entry] : record_.records_) in_order[entry.first] = entry.second;
    for (const auto& [revision, bytes] : in_order) state.records.push_back(bytes);
    state.changes = record_.log_;
    for (const auto& [key, intent] : record_.intents_) {
      if (intent.state() < record::Intent::ACCEPTED) state.unsettled_intents.push_back(intent);
    }
    return state;
  }

  absl::StatusOr<StoreNews> Begin(const StorePoint& known, const TurnNeeds&) override {
    MutexLock lock(record_.mu_);
    if (open_ || cut_off_ || record_.Happens(record_.faults_.away)) return Away();
    while (record_.turn_) record_.turn_ended_.Wait(record_.mu_);
    StoreNews news = record_.NewsSince(known, membership().id());
    if (news.must_load) return news;
    record_.turn_ = me_;
    news.leader = record_.leader_;
    return news;
  }

  CommitOutcome Commit(const StoreBatch& batch) override {
    CommitOutcome outcome;
    {
      MutexLock lock(record_.mu_);
      const SharedRecord::Faults faults = record_.faults_;
      ++batch_;
      if (cut_off_ || record_.Happens(faults.refused)) {
        outcome = CommitOutcome::Of(Away());
      } else if (record_.Happens(faults.open_lost)) {
        outcome = {CommitOutcome::Kind::kOpen, Away()};
      } else {
        record_.Write(batch, me_, batch_, membership().id());
        if (record_.Happens(faults.open_written)) outcome = {CommitOutcome::Kind::kOpen, Away()};
      }
      open_ = outcome.kind == CommitOutcome::Kind::kOpen;
    }
    EndTurn();
    if (outcome.kind != CommitOutcome::Kind::kNotWritten) record_.WakeOthers(me_);
    return outcome;
  }

  void Abandon() override { EndTurn(); }

  absl::StatusOr<bool> Settle() override {
    MutexLock lock(record_.mu_);
    if (cut_off_ || record_.Happens(record_.faults_.still_open)) return Away();
    open_ = false;
    for (const SharedRecord::Commit& commit : record_.commits_) {
      if (commit.by == me_ && commit.batch == batch_) return true;
    }
    return false;
  }

  absl::StatusOr<std::optional<record::Intent>> FindIntent(const std::string& caller,
                                                           const std::string& id) override {
    MutexLock lock(record_.mu_);
    auto it = record_.intents_.find({caller, id});
    if (it == record_.intents_.end()) return std::nullopt;
    return std::optional<record::Intent>(it->second);
  }
  absl::StatusOr<CreateCount> CountCreates(const std::string& caller, absl::Time since) override {
    MutexLock lock(record_.mu_);
    CreateCount creates;
    for (const auto& [key, intent] : record_.intents_) {
      const absl::Time time = absl::FromUnixSeconds(intent.create_time().seconds());
      if (key.first != caller || time <= since || intent.state() >= record::Intent::NOT_SUBMITTED)
        continue;
      ++creates.count;
      creates.oldest = std::min(creates.oldest, time);
    }
    return creates;
  }
  absl::StatusOr<std::vector<std::optional<int64_t>>> FindTotals(
      const std::vector<TotalKey>& keys) override {
    MutexLock lock(record_.mu_);
    return record_.ledger_.FindTotals(keys);
  }
  absl::StatusOr<SpendingRows> ReadSpending(const SpendingQuery& query) override {
    MutexLock lock(record_.mu_);
    return record_.ledger_.Read(query);
  }
  // From now on it sees nothing of the record, nor writes to it.
  void SetCutOff(bool cut_off) {
    MutexLock lock(record_.mu_);
    cut_off_ = cut_off;
  }
  absl::Status CheckWritable() override { return absl::OkStatus(); }

  absl::StatusOr<StoreNews> Read(const StorePoint& known) override {
    MutexLock lock(record_.mu_);
    if (open_ || cut_off_ || record_.Happens(record_.faults_.away)) return Away();
    return record_.NewsSince(known, membership().id());
  }
  void Follow(std::function<void()> wake) override {
    MutexLock waking(record_.wake_mu_);
    MutexLock lock(record_.mu_);
    record_.wakes_[me_] = std::move(wake);
  }

 private:
  static absl::Status Away() {
    return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
                 "the database is away");
  }
  void EndTurn() {
    MutexLock lock(record_.mu_);
    if (record_.turn_ != me_) return;
    record_.turn_.reset();
    record_.turn_ended_.NotifyAll();
  }

  SharedRecord& record_;
  uint64_t me_ = 0;
  uint64_t batch_ = 0;
  bool open_ = false;
  bool cut_off_ = false;  // Guarded by the record's lock.
};

inline StoreNews SharedRecord::NewsSince(const StorePoint& known, const std::string& me) {
  StoreNews news;
  if (has_clock_) news.clock = Clock();
  if (!awaits_.empty()) {
    const bool awaits_me = awaits_.contains(me);
    news.caution = StoreCaution{.until = listed_by_,
                                .awaits_me = awaits_me,
                                .awaits_others = awaits_.size() > (awaits_me ? 1u : 0u)};
  }
  news.point = point_;
  news.members = StoreMembers{{live_.begin(), live_.end()}, {ended_.begin(), ended_.end()}};
  news.lineage = lineage_;
  if (!lineage_.HasSeq(known.era, known.seq, point_.seq)) {
    news.must_load = true;
    return news;
  }
  news.changes.assign(log_.begin() + static_cast<ptrdiff_t>(known.revision), log_.end());
  for (const Commit& commit : commits_) {
    if (commit.point.seq <= known.seq) continue;
    news.intents.insert(news.intents.end(), commit.intents.begin(), commit.intents.end());
  }
  return news;
}

inline void SharedRecord::Write(const StoreBatch& batch, uint64_t by, uint64_t number,
                                const std::string& me) {
  ++point_.seq;
  awaits_.erase(me);
  if (batch.has_lost) awaits_.insert("");
  if (batch.ends_caution) awaits_.clear();
  for (const std::string& member : batch.ended_members) ended_.erase(member);
  for (const StoredChange& change : batch.changes) log_.push_back(change);
  point_.revision = log_.size();
  commits_.push_back(
      {point_, batch.put_intents, by, number, MemoryLedger::PartOf(batch), batch.ended_members});
  Rebuild();
}

inline void SharedRecord::Rebuild() {
  records_.clear();
  intents_.clear();
  ledger_ = MemoryLedger();
  for (const StoredChange& change : log_) {
    if (change.forgotten) {
      records_.erase(change.fine_tune_id);
      continue;
    }
    auto& entry = records_.try_emplace(change.fine_tune_id, change.revision, "").first->second;
    entry.second = change.after;
  }
  for (const Commit& commit : commits_) {
    for (const record::Intent& intent : commit.intents)
      intents_[{intent.caller(), intent.request_id()}] = intent;
    ledger_.Apply(commit.ledger);
  }
}

inline void SharedRecord::LoseTail(uint64_t seq, absl::Time listed_by) {
  MutexLock lock(mu_);
  while (turn_) turn_ended_.Wait(mu_);
  while (!commits_.empty() && commits_.back().point.seq > seq) {
    const auto& taken_over = commits_.back().ended_members;
    ended_.insert(taken_over.begin(), taken_over.end());
    commits_.pop_back();
  }
  awaits_.insert(live_.begin(), live_.end());
  awaits_.insert(ended_.begin(), ended_.end());
  listed_by_ = listed_by;
  point_.seq = commits_.empty() ? 0 : commits_.back().point.seq;
  point_.revision = commits_.empty() ? 0 : commits_.back().point.revision;
  log_.resize(point_.revision);
  std::vector<Era> eras = lineage_.eras();
  // Those that began after what is left are gone, too.
  while (eras.size() > 1 && eras.back().base_seq > point_.seq) eras.pop_back();
  eras.push_back({.id = ++eras_made_,
                  .base_revision = point_.revision,
                  .base_seq = point_.seq,
                  .why = "a failover"});
  lineage_ = Lineage(std::move(eras));
  point_.era = lineage_.current();
  Rebuild();
}

inline void SharedRecord::WakeOthers(uint64_t by) {
  MutexLock waking(wake_mu_);
  std::vector<std::function<void()>> wakes;
  {
    MutexLock lock(mu_);
    if (quiet_) return;
    for (const auto& [process, wake] : wakes_) {
      if (process != by && wake) wakes.push_back(wake);
    }
  }
  for (const auto& wake : wakes) wake();
}

}  // namespace finetune
