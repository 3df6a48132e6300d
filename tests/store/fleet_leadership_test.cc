#include "server/store/fleet_leadership.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

class FleetLeadershipTest : public testing::Test {
 protected:
  FleetLeadership leadership_{{.lease = absl::Seconds(6),
                               .caution = absl::Seconds(1),
                               .give_up_every = absl::Minutes(5),
                               .stand_back = absl::Seconds(10)}};
};

TEST_F(FleetLeadershipTest, TrustsItsLeaseForLessThanOthersDoAndFromTheQuestionOn) {
  EXPECT_FALSE(leadership_.leads());
  EXPECT_FALSE(leadership_.has_lapsed(kStart));
  EXPECT_EQ(leadership_.term(), nullptr);
  const auto lease = leadership_.Begin({3, "me"}, kStart);
  EXPECT_EQ(*leadership_.term(), (LeaderTerm{3, "me"}));
  EXPECT_TRUE(lease->Holds(kStart + absl::Milliseconds(4'999)));
  EXPECT_FALSE(lease->Holds(kStart + absl::Seconds(5)));
  EXPECT_TRUE(leadership_.has_lapsed(kStart + absl::Seconds(5)));
  leadership_.Renew(kStart + absl::Seconds(4));
  EXPECT_TRUE(lease->Holds(kStart + absl::Seconds(8)));
  EXPECT_FALSE(leadership_.has_lapsed(kStart + absl::Seconds(5)));
}

TEST_F(FleetLeadershipTest, AnEndedTermIsOverForWhoeverHasItsLease) {
  const auto lease = leadership_.Begin({3, "me"}, kStart);
  EXPECT_EQ(leadership_.End(), (LeaderTerm{3, "me"}));
  EXPECT_FALSE(leadership_.leads());
  EXPECT_FALSE(lease->Holds(kStart));
  EXPECT_FALSE(leadership_.has_lapsed(kStart + absl::Hours(1)));
  // Another term is another lease.
  EXPECT_TRUE(leadership_.Begin({4, "me"}, kStart)->Holds(kStart));
  EXPECT_FALSE(lease->Holds(kStart));
}

TEST_F(FleetLeadershipTest, GivesUpSeldomAndThenStandsBack) {
  EXPECT_LE(leadership_.may_begin_at(), kStart);
  EXPECT_TRUE(leadership_.GivesUp(kStart));
  EXPECT_EQ(leadership_.may_begin_at(), kStart + absl::Seconds(10));
  EXPECT_FALSE(leadership_.GivesUp(kStart + absl::Minutes(4)));
  EXPECT_EQ(leadership_.may_begin_at(), kStart + absl::Seconds(10));
  EXPECT_TRUE(leadership_.GivesUp(kStart + absl::Minutes(5)));
}

TEST_F(FleetLeadershipTest, WhoRetiresMayStillLeadButNotAnew) {
  leadership_.Begin({3, "me"}, kStart);
  leadership_.Retire();
  EXPECT_TRUE(leadership_.leads());
  EXPECT_TRUE(leadership_.is_retired());
}

}  // namespace
}  // namespace finetune
