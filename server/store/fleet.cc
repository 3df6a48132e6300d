#include "server/store/fleet.h"

#include <utility>

#include "server/base/clock.h"

namespace finetune {

SoloFleet::SoloFleet(FleetMember me)
    : me_([&] {
        me.is_me = me.leads = true;
        return std::move(me);
      }()) {}

void SoloFleet::Start(FleetListener& listener, std::function<uint64_t()>) {
  listener.OnLead(
      std::make_shared<const LeaderLease>(LeaderTerm{1, me_.id}, absl::InfiniteFuture()));
}

FleetStatus SoloFleet::status() const {
  const absl::Time now = SteadyNow();
  return {.term = {1, me_.id},
          .leads = true,
          .leader_name = me_.name,
          .members = {me_},
          .seen = now,
          .complete = now};
}

void SoloFleet::WantRead(WantDone done) { std::move(done)(uint64_t{0}); }

}  // namespace finetune
