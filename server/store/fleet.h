#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/base/call_budget.h"
#include "server/base/error.h"
#include "server/base/trace.h"
#include "server/store/store.h"

namespace finetune {

// A right that ends by itself unless it is renewed. It is trusted until a steady time before the one
// at which the others consider it ended. Thread-safe.
class Lease {
 public:
  explicit Lease(absl::Time trusted_until) { Renew(trusted_until); }

  bool Holds(absl::Time now) const { return absl::ToUnixNanos(now) < until_; }
  void Renew(absl::Time trusted_until) { until_ = absl::ToUnixNanos(trusted_until); }
  // For good: a right that is given again comes with another lease.
  void End() { until_ = absl::ToUnixNanos(absl::InfinitePast()); }

 private:
  std::atomic<int64_t> until_;
};

// The leader's right to read Segmind. Without it nothing new begins; what has begun is fenced: the
// recorder writes nothing of a term that is over (TurnNeeds.term).
struct LeaderLease : Lease {
  LeaderLease(LeaderTerm given, absl::Time trusted_until)
      : Lease(trusted_until), term(std::move(given)) {}
  const LeaderTerm term;
};

// What the leader's reads of Segmind have brought into the record. Steady times of whoever has it,
// none later than when the read began.
struct FleetReading {
  absl::Time list_time = absl::InfinitePast();  // The newest list.
  // Jobs that this list does not show, and when the latest read that showed each began.
  absl::flat_hash_map<std::string, absl::Time> not_shown;
  uint64_t revision = 0;  // Views from this one on include all of it.
  bool partial = false;   // Lists are known not to show all jobs.
  // Tickets up to these have had their read, or an error in its place: see Fleet::WantRead.
  uint64_t served = 0;
  uint64_t failed = 0;
  absl::Status failure;
  // What Segmind's account had left when it last said so, in millionths of a credit.
  struct Credits {
    int64_t micros = 0;
    absl::Time time;
  };
  std::optional<Credits> credits;
  // How Segmind answers the leader; unspecified: it does not say.
  pb::GatewayStatus::UpstreamState upstream_state = pb::GatewayStatus::UPSTREAM_STATE_UNSPECIFIED;
};

// Somebody heard of a job at Segmind.
struct FleetHint {
  std::string upstream_id;
  // Of the call that said so, without its `tracestate`; often none.
  TraceContext trace;
};

struct FleetMember {
  std::string id;
  std::string name;  // Of its pod, say.
  std::string version;
  absl::Time started;  // By the time of day.
  bool is_me = false;
  bool leads = false;
};

struct FleetStatus {
  LeaderTerm term;                   // Number 0 if nobody has led yet.
  bool leads = false;                // This process.
  std::string leader_name;           // Empty while nobody leads, or nobody can be seen to.
  std::vector<FleetMember> members;  // Those alive, by name.
  // When what others share was last seen (steady), and whether it can be seen now.
  absl::Time seen = absl::InfinitePast();
  bool reachable = true;
  // The view lacked nothing of what was committed by then (steady).
  absl::Time complete = absl::InfinitePast();
  // How far this machine's time of day is ahead of the one that all go by.
  absl::Duration skew;
  // Whether a commit is acknowledged only once a standby has it, and how many standbys there are.
  bool is_synchronous = false;
  int64_t standbys = 0;
};

// Hears what concerns its process. Called on the fleet's thread: must not block.
class FleetListener {
 public:
  virtual ~FleetListener() = default;

  // From now on this process leads, while the lease holds; from now on it does not.
  virtual void OnLead(std::shared_ptr<const LeaderLease> lease) = 0;
  virtual void OnFollow() = 0;

  // To the leader: somebody heard of these jobs at Segmind; somebody submitted something; somebody
  // waits for a list that begins after this (FleetReading.served has the ticket then).
  virtual void OnHints(const std::vector<FleetHint>& hints) = 0;
  virtual void OnWake() = 0;
  virtual void OnWanted(uint64_t ticket) = 0;

  // To those who follow: the leader's reading, whenever it was seen to have changed.
  virtual void OnReading(const FleetReading& reading) = 0;
};

// The processes that share one record, and which of them does what only one may do: read Segmind.
// Thread-safe; `Start` and `Stop` are for the owner.
class Fleet {
 public:
  virtual ~Fleet() = default;

  // Calls the listener from now until Stop has returned. Nobody leads before OnLead.
  // `view_revision` is what this process shows. To be called once.
  virtual void Start(FleetListener& listener, std::function<uint64_t()> view_revision) = 0;
  // Gives up the lead, so that the others need not wait until its lease ends. Idempotent.
  virtual void Stop() = 0;
  // Lets another one lead, as soon as there is one, and never leads again; waits a moment until
  // others know it. For a drain.
  virtual void Retire() = 0;

  // Whether others may share the record. If not, nothing of what follows needs to be called.
  virtual bool is_shared() const = 0;
  virtual FleetStatus status() const = 0;

  // Of those who follow, for the leader. Hints are kept while nobody can be told.
  virtual void Hint(FleetHint hint) = 0;
  virtual void Wake() = 0;
  // Asks for a list that begins from now on. `done` gets, exactly once, the ticket that
  // FleetReading.served will reach; or UNAVAILABLE / STORE_UNAVAILABLE if nobody can be asked.
  using WantDone = absl::AnyInvocable<void(absl::StatusOr<uint64_t>) &&>;
  virtual void WantRead(WantDone done) = 0;

  // Of the leader.
  virtual void Tell(const FleetReading& reading) = 0;
  // Segmind cannot be read from here: lets another one lead, if there is one, now and then.
  virtual void GiveUp() = 0;
  // The recorder refused what this term wanted written: another one leads.
  virtual void OnFenced(const LeaderTerm& term) = 0;

  // Null where this process alone makes calls.
  virtual CallBudget* calls() = 0;
};

// One process that has the record to itself: it always leads.
class SoloFleet : public Fleet {
 public:
  explicit SoloFleet(FleetMember me);

  void Start(FleetListener& listener, std::function<uint64_t()> view_revision) override;
  void Stop() override {}
  void Retire() override {}
  bool is_shared() const override { return false; }
  FleetStatus status() const override;
  void Hint(FleetHint) override {}
  void Wake() override {}
  void WantRead(WantDone done) override;
  void Tell(const FleetReading&) override {}
  void GiveUp() override {}
  void OnFenced(const LeaderTerm&) override {}
  CallBudget* calls() override { return nullptr; }

 private:
  const FleetMember me_;
};

}  // namespace finetune
