#pragma once

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/job_waits.h"
#include "server/jobs/tracking/tracker.h"
#include "server/service/calls/unary_call.h"

namespace finetune {

// Enforces what a request's Freshness asks for. Thread-safe; what it is made with outlives it.
class FreshnessGate {
 public:
  using Done = absl::AnyInvocable<void(absl::Status) &&>;

  FreshnessGate(Catalog& catalog, Tracker& tracker, JobWaits& job_waits, Clock& clock)
      : catalog_(catalog), tracker_(tracker), job_waits_(job_waits), clock_(clock) {}

  // Runs `done` on a thread of the call's, once memory is as new as asked for (at once if it is),
  // or with the reason why it could not be in time: CANCELLED as soon as the client is gone. Ages
  // count from the call's start. `id`: of the only job that matters; empty for all.
  void Await(const pb::Freshness& wanted, const std::string& id, UnaryCall& call, Done done);

 private:
  void AwaitRead(const std::string& id, absl::Time not_before, UnaryCall& call, Done done);
  absl::Status NotReached(uint64_t revision, absl::Time deadline) const;

  Catalog& catalog_;
  Tracker& tracker_;
  JobWaits& job_waits_;
  Clock& clock_;
};

}  // namespace finetune
