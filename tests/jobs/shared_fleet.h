#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/base/error.h"
#include "server/base/mutex.h"
#include "server/store/fleet.h"
#include "tests/jobs/shared_memory_store.h"

namespace finetune {

// Several processes on one record in memory, of which the test says who leads. Outlives its
// members. Thread-safe.
class SharedFleet {
 public:
  explicit SharedFleet(SharedRecord& record) : record_(record) {}

  class Member : public Fleet {
   public:
    Member(SharedFleet& fleet, std::string name) : fleet_(fleet), name_(std::move(name)) {}

    void Start(FleetListener& listener, std::function<uint64_t()>) override {
      MutexLock lock(fleet_.mu_);
      listener_ = &listener;
    }
    void Stop() override {
      MutexLock lock(fleet_.mu_);
      listener_ = nullptr;
    }
    void Retire() override {}
    bool is_shared() const override { return true; }
    FleetStatus status() const override {
      MutexLock lock(fleet_.mu_);
      FleetStatus status;
      status.reachable = !fleet_.away_;
      status.leads = fleet_.leader_ == this;
      if (fleet_.leader_ != nullptr && !fleet_.away_) status.leader_name = fleet_.leader_->name_;
      return status;
    }
    void Hint(FleetHint hint) override {
      hint.trace.tracer = nullptr;  // As one that another process began.
      if (FleetListener* leader = fleet_.leader()) leader->OnHints({std::move(hint)});
    }
    void Wake() override {
      if (FleetListener* leader = fleet_.leader()) leader->OnWake();
    }
    void WantRead(WantDone done) override {
      const auto ticket = fleet_.TakeTicket();
      std::move(done)(ticket);
      if (FleetListener* leader = fleet_.leader(); leader != nullptr && ticket.ok())
        leader->OnWanted(*ticket);
    }
    void Tell(const FleetReading& reading) override { fleet_.TellOthers(*this, reading); }
    void GiveUp() override { ++gave_up; }
    void OnFenced(const LeaderTerm&) override { ++fenced; }
    CallBudget* calls() override { return nullptr; }

    std::atomic<int> gave_up{0};
    std::atomic<int> fenced{0};

   private:
    friend class SharedFleet;
    SharedFleet& fleet_;
    const std::string name_;
    FleetListener* listener_ = nullptr;  // Guarded by the fleet's lock.
  };

  // A way to it for one process, which owns it.
  std::unique_ptr<Member> Join(std::string name) {
    auto member = std::make_unique<Member>(*this, std::move(name));
    MutexLock lock(mu_);
    members_.push_back(member.get());
    return member;
  }

  // This one leads from now on, and whoever did before is told, unless it is cut off.
  void Lead(Member& member, bool tell_the_old_one = true) {
    const LeaderTerm term{++terms_, member.name_};
    record_.SetLeader(term);
    FleetListener *old = nullptr, *now;
    std::shared_ptr<LeaderLease> ended;
    uint64_t wanted;
    {
      MutexLock lock(mu_);
      if (leader_ != nullptr) old = leader_->listener_;
      leader_ = &member;
      now = member.listener_;
      ended = std::exchange(lease_, std::make_shared<LeaderLease>(term, absl::InfiniteFuture()));
      wanted = tickets_;
    }
    if (old != nullptr && tell_the_old_one) {
      ended->End();
      old->OnFollow();
    }
    now->OnLead(lease());
    if (wanted > 0) now->OnWanted(wanted);
  }
  std::shared_ptr<LeaderLease> lease() const {
    MutexLock lock(mu_);
    return lease_;
  }
  void SetAway(bool away) {
    MutexLock lock(mu_);
    away_ = away;
  }

 private:
  FleetListener* leader() const {
    MutexLock lock(mu_);
    return leader_ == nullptr || away_ ? nullptr : leader_->listener_;
  }
  absl::StatusOr<uint64_t> TakeTicket() {
    MutexLock lock(mu_);
    if (away_)
      return absl::Status(Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
                                "the database is away"));
    return ++tickets_;
  }
  void TellOthers(const Member& from, const FleetReading& reading) {
    std::vector<FleetListener*> others;
    {
      MutexLock lock(mu_);
      if (&from != leader_ || away_) return;
      for (Member* member : members_)
        if (member != &from && member->listener_ != nullptr) others.push_back(member->listener_);
    }
    for (FleetListener* other : others) other->OnReading(reading);
  }

  SharedRecord& record_;
  uint64_t terms_ = 0;

  mutable Mutex mu_;
  std::vector<Member*> members_ ABSL_GUARDED_BY(mu_);
  Member* leader_ ABSL_GUARDED_BY(mu_) = nullptr;
  std::shared_ptr<LeaderLease> lease_ ABSL_GUARDED_BY(mu_);
  uint64_t tickets_ ABSL_GUARDED_BY(mu_) = 0;
  bool away_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace finetune
