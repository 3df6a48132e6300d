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

// A right that ends by itself unless it is renewed. It is trusted until a steady time that lies
// before the one at which the others consider it ended. Thread-safe.
class Lease {
 public:
  explicit Lease(absl::Time trusted_until) { Renew(trusted_until); }

  bool Holds(absl::Time now) const { return absl::ToUnixNanos(now) < until_; }
  void Renew(absl::Time trusted_until) { until_ = absl::ToUnixNanos(trusted_until); }
  // Ends it for good: a right that is given again comes with another lease.
  void End() { until_ = absl::ToUnixNanos(absl::InfinitePast()); }

 private:
  std::atomic<int64_t> until_;
};

// The leader's right to read Segmind. Without it no read begins. A read that has begun is fenced:
// the recorder writes nothing of a term that is over (TurnNeeds.term).
struct LeaderLease : Lease {
  LeaderLease(LeaderTerm given, absl::Time trusted_until)
      : Lease(trusted_until), term(std::move(given)) {}
  const LeaderTerm term;
};

// What the leader's reads of Segmind have brought into the record. The times are steady ones of the
// process that holds this, and none is later than when the read began.
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
  // How Segmind answers the leader; unspecified if the leader does not say.
  pb::GatewayStatus::UpstreamState upstream_state = pb::GatewayStatus::UPSTREAM_STATE_UNSPECIFIED;
};

// The news that something happened to a job at Segmind, such as from a webhook.
struct FleetHint {
  std::string upstream_id;
  // The trace of the call that brought it, without its `tracestate`; often none.
  TraceContext trace;
};

// One of the processes that share the record.
struct FleetMember {
  std::string id;
  std::string name;  // For people, such as the name of its pod.
  std::string version;
  absl::Time started;  // By the time of day.
  bool is_me = false;
  bool leads = false;
};

// The fleet as this process sees it.
struct FleetStatus {
  LeaderTerm term;                   // Number 0 if nobody has led yet.
  bool leads = false;                // Whether this process leads.
  std::string leader_name;           // Empty while nobody leads, as far as can be seen.
  std::vector<FleetMember> members;  // Those alive, by name.
  // When the shared tables were last read (steady), and whether they can be read now.
  absl::Time seen = absl::InfinitePast();
  bool reachable = true;
  // The view includes everything committed by this (steady) time.
  absl::Time complete = absl::InfinitePast();
  // How far this machine's time of day is ahead of the database's.
  absl::Duration skew;
  // Whether a commit is acknowledged only once a standby has it, and how many standbys there are.
  bool is_synchronous = false;
  int64_t standbys = 0;
};

// Receives what concerns its process. Called on the fleet's thread, so it must not block; outlives
// Fleet::Stop.
class FleetListener {
 public:
  virtual ~FleetListener() = default;

  // From now on this process leads, for as long as the lease holds.
  virtual void OnLead(std::shared_ptr<const LeaderLease> lease) = 0;
  // From now on it does not.
  virtual void OnFollow() = 0;

  // For the leader: another process heard of these jobs at Segmind;
  virtual void OnHints(const std::vector<FleetHint>& hints) = 0;
  // submitted something;
  virtual void OnWake() = 0;
  // waits for a list that begins after this call, and that FleetReading.served counts by its
  // ticket.
  virtual void OnWanted(uint64_t ticket) = 0;

  // For followers: the leader's reading, each time that it is seen to have changed.
  virtual void OnReading(const FleetReading& reading) = 0;
};

// The processes that share one record, and the question which of them does what only one may do:
// read Segmind. Thread-safe; `Start` and `Stop` are for the owner.
class Fleet {
 public:
  virtual ~Fleet() = default;

  // Calls the listener from now until Stop has returned. This process does not lead before OnLead.
  // `view_revision` says which revision it shows. Call it once.
  virtual void Start(FleetListener& listener, std::function<uint64_t()> view_revision) = 0;
  // Gives up the lead, so that others need not wait until its lease ends. Idempotent.
  virtual void Stop() = 0;
  // Lets another process lead, as soon as there is one, and never leads again; waits a moment until
  // others know it. For a drain.
  virtual void Retire() = 0;

  // Whether others may share the record. If not, nothing below needs to be called.
  virtual bool is_shared() const = 0;
  virtual FleetStatus status() const = 0;

  // For followers, to tell the leader. Hints are kept while it cannot be told.
  virtual void Hint(FleetHint hint) = 0;
  virtual void Wake() = 0;
  // Asks for a list that begins from now on. `done` gets, exactly once, the ticket that
  // FleetReading.served will reach, or UNAVAILABLE / STORE_UNAVAILABLE if the leader cannot be
  // asked.
  using WantDone = absl::AnyInvocable<void(absl::StatusOr<uint64_t>) &&>;
  virtual void WantRead(WantDone done) = 0;

  // For the leader.
  virtual void Tell(const FleetReading& reading) = 0;
  // Segmind cannot be read from here: lets another process lead, if there is one; now and then
  // only.
  virtual void GiveUp() = 0;
  // The recorder refused what this term wanted written: another process leads.
  virtual void OnFenced(const LeaderTerm& term) = 0;

  // Null if this process makes calls alone.
  virtual CallBudget* calls() = 0;
};

// One process that has the record to itself: it always leads. Thread-safe.
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
