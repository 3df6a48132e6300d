#include "server/jobs/record/job_waits.h"

#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"

namespace finetune {

// The waits under way. Whoever takes a wait out of the table ends it, so that it ends once. A class
// of its own because timers and cancellations may come when JobWaits is gone: they hold it weakly.
class JobWaits::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Catalog& catalog, Clock& clock) : catalog_(catalog), clock_(clock) {}

  struct Wait {
    // Constant after construction.
    uint64_t ticket = 0;
    std::string id;
    uint64_t revision = 0;
    Predicate predicate;  // Null: waits for the revision. May run on several threads at once.
    bool ForRevision() const { return predicate == nullptr; }
    // Belongs to whoever took the wait out of the table.
    Done done;
    // Guarded by the core's lock.
    Clock::TimerId timer = Clock::kNoTimer;
  };
  using WaitPtr = std::shared_ptr<Wait>;

  uint64_t Add(const WaitPtr& wait, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);
  void OnCommitted(absl::Span<const ChangePtr> changes) ABSL_LOCKS_EXCLUDED(mu_);
  void OnReloaded() ABSL_LOCKS_EXCLUDED(mu_);
  void Cancel(uint64_t ticket) ABSL_LOCKS_EXCLUDED(mu_) { GiveUp(ticket); }
  void Shutdown() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Null if it has ended. Its timer is `timer`, to be cancelled.
  WaitPtr Take(uint64_t ticket, Clock::TimerId& timer) ABSL_LOCKS_EXCLUDED(mu_);
  void Meet(const Wait& wait, VersionPtr version) ABSL_LOCKS_EXCLUDED(mu_);
  void GiveUp(uint64_t ticket) ABSL_LOCKS_EXCLUDED(mu_);
  void SetTimer(uint64_t ticket, absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  Catalog& catalog_;
  Clock& clock_;

  Mutex mu_;
  // Guarded by mu_.
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t last_ticket_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<uint64_t, WaitPtr> waits_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, absl::flat_hash_set<uint64_t>> by_id_ ABSL_GUARDED_BY(mu_);
  absl::btree_map<uint64_t, absl::flat_hash_set<uint64_t>> by_revision_ ABSL_GUARDED_BY(mu_);
};

uint64_t JobWaits::Core::Add(const WaitPtr& wait, absl::Time deadline) {
  bool shut_down = false;
  {
    // In the table before the catalog is looked at: a change between the two is not missed.
    MutexLock lock(mu_);
    wait->ticket = ++last_ticket_;
    shut_down = shut_down_;
    waits_[wait->ticket] = wait;
    if (wait->ForRevision()) {
      by_revision_[wait->revision].insert(wait->ticket);
    } else {
      by_id_[wait->id].insert(wait->ticket);
    }
  }
  const uint64_t ticket = wait->ticket;
  if (wait->ForRevision()) {
    if (catalog_.view()->revision() >= wait->revision) {
      Meet(*wait, nullptr);
      return ticket;
    }
  } else {
    VersionPtr version = catalog_.Find(wait->id);
    if (version != nullptr && wait->predicate(*version)) {
      Meet(*wait, std::move(version));
      return ticket;
    }
    if (version == nullptr) shut_down = true;
  }
  if (shut_down || deadline <= clock_.Now()) {
    GiveUp(ticket);
  } else if (deadline != absl::InfiniteFuture()) {
    SetTimer(ticket, deadline);
  }
  return ticket;
}

void JobWaits::Core::SetTimer(uint64_t ticket, absl::Time deadline) {
  const Clock::TimerId timer = clock_.RunAt(deadline, [weak = weak_from_this(), ticket] {
    if (auto core = weak.lock()) core->GiveUp(ticket);
  });
  {
    MutexLock lock(mu_);
    if (auto it = waits_.find(ticket); it != waits_.end()) {
      it->second->timer = timer;
      return;
    }
  }
  clock_.Cancel(timer);
}

JobWaits::Core::WaitPtr JobWaits::Core::Take(uint64_t ticket, Clock::TimerId& timer) {
  MutexLock lock(mu_);
  auto it = waits_.find(ticket);
  if (it == waits_.end()) return nullptr;
  WaitPtr wait = std::move(it->second);
  waits_.erase(it);
  timer = wait->timer;
  const auto forget = [&](auto& index, const auto& key) {
    auto entry = index.find(key);
    entry->second.erase(ticket);
    if (entry->second.empty()) index.erase(entry);
  };
  if (wait->ForRevision()) {
    forget(by_revision_, wait->revision);
  } else {
    forget(by_id_, wait->id);
  }
  return wait;
}

void JobWaits::Core::Meet(const Wait& wait, VersionPtr version) {
  Clock::TimerId timer = Clock::kNoTimer;
  WaitPtr taken = Take(wait.ticket, timer);
  if (taken == nullptr) return;
  clock_.Cancel(timer);
  std::move(taken->done)(std::move(version), true);
}

void JobWaits::Core::GiveUp(uint64_t ticket) {
  Clock::TimerId timer = Clock::kNoTimer;
  WaitPtr wait = Take(ticket, timer);
  if (wait == nullptr) return;
  clock_.Cancel(timer);
  VersionPtr version = wait->ForRevision() ? nullptr : catalog_.Find(wait->id);
  std::move(wait->done)(std::move(version), false);
}

void JobWaits::Core::OnCommitted(absl::Span<const ChangePtr> changes) {
  std::vector<std::pair<WaitPtr, VersionPtr>> concerned;
  {
    MutexLock lock(mu_);
    if (waits_.empty() || changes.empty()) return;
    for (const ChangePtr& change : changes) {
      auto it = by_id_.find(change->after()->id);
      if (it == by_id_.end()) continue;
      for (uint64_t ticket : it->second) concerned.emplace_back(waits_[ticket], change->after());
    }
    for (const auto& [revision, tickets] : by_revision_) {
      if (revision > changes.back()->revision()) break;
      for (uint64_t ticket : tickets) concerned.emplace_back(waits_[ticket], nullptr);
    }
  }
  for (auto& [wait, version] : concerned) {
    if (version == nullptr || wait->predicate(*version)) Meet(*wait, std::move(version));
  }
}

// Nobody waits for a job that is no longer there.
void JobWaits::Core::OnReloaded() {
  std::vector<WaitPtr> all;
  {
    MutexLock lock(mu_);
    for (const auto& [ticket, wait] : waits_) all.push_back(wait);
  }
  const uint64_t revision = catalog_.view()->revision();
  for (const WaitPtr& wait : all) {
    if (wait->ForRevision()) {
      if (revision >= wait->revision) Meet(*wait, nullptr);
      continue;
    }
    VersionPtr version = catalog_.Find(wait->id);
    if (version == nullptr) {
      GiveUp(wait->ticket);
    } else if (wait->predicate(*version)) {
      Meet(*wait, std::move(version));
    }
  }
}

void JobWaits::Core::Shutdown() {
  std::vector<uint64_t> tickets;
  {
    MutexLock lock(mu_);
    shut_down_ = true;
    for (const auto& [ticket, wait] : waits_) tickets.push_back(ticket);
  }
  for (uint64_t ticket : tickets) GiveUp(ticket);
}

JobWaits::JobWaits(Catalog& catalog, Clock& clock)
    : core_(std::make_shared<Core>(catalog, clock)) {}

JobWaits::~JobWaits() { core_->Shutdown(); }

uint64_t JobWaits::WaitForFineTune(const std::string& id, Predicate predicate, absl::Time deadline,
                                   Done done) {
  auto wait = std::make_shared<Core::Wait>();
  wait->id = id;
  wait->predicate = std::move(predicate);
  wait->done = std::move(done);
  return core_->Add(std::move(wait), deadline);
}

uint64_t JobWaits::WaitForRevision(uint64_t revision, absl::Time deadline, Done done) {
  auto wait = std::make_shared<Core::Wait>();
  wait->revision = revision;
  wait->done = std::move(done);
  return core_->Add(std::move(wait), deadline);
}

void JobWaits::Cancel(uint64_t ticket) { core_->Cancel(ticket); }

void JobWaits::Shutdown() { core_->Shutdown(); }

void JobWaits::OnReloaded() { core_->OnReloaded(); }

void JobWaits::OnCommitted(absl::Span<const ChangePtr> changes) { core_->OnCommitted(changes); }

}  // namespace finetune
