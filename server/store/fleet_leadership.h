#pragma once

#include <memory>

#include "absl/time/time.h"
#include "server/store/fleet.h"

namespace finetune {

// This process's part in the question who leads: the term that it holds, if any, and whether it may
// begin one. Has no threads and no clock: it is told all times, which are steady. Not thread-safe,
// but the leases that it hands out are.
class FleetLeadership {
 public:
  struct Options {
    absl::Duration lease;
    // A lease is trusted for this much less than the others grant.
    absl::Duration caution;
    // The least time between giving up twice, and how long it then leaves the lead to others.
    absl::Duration give_up_every;
    absl::Duration stand_back;
  };

  explicit FleetLeadership(const Options& options) : options_(options) {}

  bool leads() const { return lease_ != nullptr; }
  // Null while this process does not lead.
  const LeaderTerm* term() const { return leads() ? &lease_->term : nullptr; }
  // Whether it leads by a lease that no longer holds.
  bool has_lapsed(absl::Time now) const { return leads() && !lease_->Holds(now); }

  // In answer to a question sent at `asked`, the database gave it the term, or renewed its lease.
  std::shared_ptr<const LeaderLease> Begin(LeaderTerm term, absl::Time asked);
  void Renew(absl::Time asked) { lease_->Renew(TrustedUntil(asked)); }
  // Ends its term, and returns it.
  LeaderTerm End();

  // Whether a leader that cannot read Segmind should end its term now. If so, it then stands back.
  bool GivesUp(absl::Time now);
  // It never begins a term again.
  void Retire() { retired_ = true; }
  bool is_retired() const { return retired_; }
  // The earliest time at which it may begin a term, if nobody leads.
  absl::Time may_begin_at() const { return may_begin_at_; }

 private:
  absl::Time TrustedUntil(absl::Time asked) const {
    return asked + options_.lease - options_.caution;
  }

  const Options options_;
  std::shared_ptr<LeaderLease> lease_;  // Null while this process does not lead.
  bool retired_ = false;
  absl::Time may_begin_at_ = absl::InfinitePast();
  absl::Time give_up_at_ = absl::InfinitePast();
};

}  // namespace finetune
