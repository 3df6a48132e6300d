#pragma once

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/jobs/catalog.h"
#include "server/jobs/tracker.h"
#include "server/jobs/waiters.h"

namespace finetune {

// Keeps what a request's Freshness asks for. Thread-safe; outlived by what it is made of.
class Freshness {
 public:
  Freshness(Catalog& catalog, Tracker& tracker, Waiters& waiters)
      : catalog_(catalog), tracker_(tracker), waiters_(waiters) {}

  // Runs `done` once memory is as new as asked for (at once if it is), or with the reason why it
  // could not be by `deadline`. Ages count from `start`.
  void Await(const pb::Freshness& wanted, absl::Time start, absl::Time deadline,
             absl::AnyInvocable<void(absl::Status) &&> done);

 private:
  void AwaitRead(absl::Time not_before, absl::Time deadline,
                 absl::AnyInvocable<void(absl::Status) &&> done);

  Catalog& catalog_;
  Tracker& tracker_;
  Waiters& waiters_;
};

}  // namespace finetune
