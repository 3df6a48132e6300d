#pragma once

#include <memory>

#include "absl/time/time.h"
#include "server/store/fleet.h"

namespace finetune {

// This process's part in who leads: the term that it has, if any, and whether it may begin one. A
// value without threads or a clock: all times are steady ones that it is told. Not thread-safe; the
// leases that it hands out are.
class FleetLeadership {
 public:
  struct Options {
    absl::Duration lease;
    // A lease is trusted for so much less than others give it.
    absl::Duration caution;
    // The least time between two times that it gives up, and for how long it then does not lead
    // unless nobody else does.
    absl::Duration give_up_every;
    absl::Duration stand_back;
  };

  explicit FleetLeadership(const Options& options) : options_(options) {}

  bool leads() const { return lease_ != nullptr; }
  // Null where another one leads.
  const LeaderTerm* term() const { return leads() ? &lease_->term : nullptr; }
  // It leads by a lease that holds no more.
  bool has_lapsed(absl::Time now) const { return leads() && !lease_->Holds(now); }

  // The database gave it the term, or the lease for longer, upon a question of `asked`.
  std::shared_ptr<const LeaderLease> Begin(LeaderTerm term, absl::Time asked);
  void Renew(absl::Time asked) { lease_->Renew(TrustedUntil(asked)); }
  // It leads no longer: the term that ended.
  LeaderTerm End();

  // Whether a leader that cannot read Segmind ends its term now. From then on it stands back.
  bool GivesUp(absl::Time now);
  // It will never begin a term again.
  void Retire() { retired_ = true; }
  bool is_retired() const { return retired_; }
  // From when on it may begin a term, once nobody leads.
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
