#pragma once

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/worker.h"
#include "server/jobs/catalog.h"
#include "server/jobs/tracker.h"
#include "server/jobs/waiters.h"

namespace finetune {

// Keeps what a request's Freshness asks for. Thread-safe; outlived by what it is made of.
class Freshness {
 public:
  using Done = absl::AnyInvocable<void(absl::Status) &&>;

  // What is answered later is answered on `replies`, and not by whoever made memory newer.
  Freshness(Catalog& catalog, Tracker& tracker, Waiters& waiters, Clock& clock, Worker& replies)
      : catalog_(catalog), tracker_(tracker), waiters_(waiters), clock_(clock), replies_(replies) {}

  // Runs `done` once memory is as new as asked for (at once if it is), or with the reason why it
  // could not be by `deadline`. Ages count from `start`. Returns a ticket for Cancel, or 0 if there
  // is nothing to cancel.
  uint64_t Await(const pb::Freshness& wanted, absl::Time start, absl::Time deadline, Done done);
  // Ends the wait early, for whoever does not wait any more.
  void Cancel(uint64_t ticket) { waiters_.Cancel(ticket); }

 private:
  void AwaitRead(absl::Time not_before, absl::Time deadline, Done done);
  absl::Status NotReached(uint64_t revision, absl::Time deadline) const;
  // Runs `step` on the replies' thread; at once where that has ended.
  void Later(absl::AnyInvocable<void() &&> step);

  Catalog& catalog_;
  Tracker& tracker_;
  Waiters& waiters_;
  Clock& clock_;
  Worker& replies_;
};

}  // namespace finetune
