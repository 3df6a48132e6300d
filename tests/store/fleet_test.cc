#include "server/store/fleet.h"

#include <gtest/gtest.h>

#include "server/base/clock.h"

namespace finetune {
namespace {

// Keeps what it is told.
struct Listener : FleetListener {
  void OnLead(std::shared_ptr<const LeaderLease> given) override { lease = std::move(given); }
  void OnFollow() override { ADD_FAILURE(); }
  void OnHints(const std::vector<FleetHint>&) override {}
  void OnWake() override {}
  void OnWanted(uint64_t) override {}
  void OnReading(const FleetReading&) override {}
  std::shared_ptr<const LeaderLease> lease;
};

TEST(Lease, HoldsUntilItsTimeUnlessItIsRenewedOrEnded) {
  const absl::Time start = absl::FromUnixSeconds(1'000);
  Lease lease(start);
  EXPECT_TRUE(lease.Holds(start - absl::Nanoseconds(1)));
  EXPECT_FALSE(lease.Holds(start));
  lease.Renew(start + absl::Seconds(5));
  EXPECT_TRUE(lease.Holds(start + absl::Seconds(4)));
  lease.End();
  EXPECT_FALSE(lease.Holds(start - absl::Hours(1)));
  EXPECT_FALSE(lease.Holds(absl::InfinitePast()));
}

TEST(SoloFleet, LeadsFromItsStartOnForEver) {
  SoloFleet fleet({.id = "me", .name = "pod-0"});
  Listener listener;
  fleet.Start(listener, [] { return uint64_t{0}; });
  ASSERT_NE(listener.lease, nullptr);
  EXPECT_EQ(listener.lease->term, fleet.status().term);
  EXPECT_TRUE(listener.lease->Holds(SteadyNow() + absl::Hours(1'000'000)));
  fleet.GiveUp();
  fleet.Retire();
  EXPECT_TRUE(fleet.status().leads) << "there is nobody else";
}

TEST(SoloFleet, ShowsItselfAlone) {
  const SoloFleet fleet({.id = "me", .name = "pod-0"});
  EXPECT_FALSE(fleet.is_shared());
  const FleetStatus status = fleet.status();
  EXPECT_EQ(status.leader_name, "pod-0");
  ASSERT_EQ(status.members.size(), 1u);
  EXPECT_TRUE(status.members[0].is_me && status.members[0].leads);
  EXPECT_TRUE(status.reachable);
}

TEST(SoloFleet, MakesNobodyWaitForOthersReads) {
  SoloFleet fleet({});
  int told = 0;
  fleet.WantRead([&](absl::StatusOr<uint64_t> ticket) {
    ++told;
    EXPECT_TRUE(ticket.ok());
  });
  EXPECT_EQ(told, 1);
  EXPECT_EQ(fleet.calls(), nullptr);
}

}  // namespace
}  // namespace finetune
