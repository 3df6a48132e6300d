#include "server/store/fleet_leadership.h"

#include <utility>

namespace finetune {

std::shared_ptr<const LeaderLease> FleetLeadership::Begin(LeaderTerm term, absl::Time asked) {
  lease_ = std::make_shared<LeaderLease>(std::move(term), TrustedUntil(asked));
  return lease_;
}

LeaderTerm FleetLeadership::End() {
  const std::shared_ptr<LeaderLease> ended = std::exchange(lease_, nullptr);
  ended->End();
  return ended->term;
}

bool FleetLeadership::GivesUp(absl::Time now) {
  if (now < give_up_at_) return false;
  give_up_at_ = now + options_.give_up_every;
  may_begin_at_ = now + options_.stand_back;
  return true;
}

}  // namespace finetune
