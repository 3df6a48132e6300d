#include "server/fleet_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "prometheus/text_serializer.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

// A fleet of which a test says how it stands.
class ToldFleet : public SoloFleet {
 public:
  ToldFleet() : SoloFleet(FleetMember{}) {}
  FleetStatus status() const override { return told; }
  FleetStatus told;
};

class FleetMetricsTest : public ::testing::Test {
 protected:
  std::string Scrape() {
    fleet_metrics_.Update();
    return prometheus::TextSerializer().Serialize(metrics_.registry()->Collect());
  }
  ManualClock clock_;
  ToldFleet fleet_;
  Metrics metrics_;
  FleetMetrics fleet_metrics_{fleet_, clock_, metrics_};
};

TEST_F(FleetMetricsTest, ShowWhoLeadsAndWhoIsThere) {
  fleet_.told.leads = true;
  fleet_.told.term.number = 7;
  fleet_.told.members.resize(3);
  std::string scrape = Scrape();
  EXPECT_THAT(scrape, HasSubstr("\nfinetune_gateway_leader 1"));
  EXPECT_THAT(scrape, HasSubstr("\nfinetune_gateway_leader_term 7"));
  EXPECT_THAT(scrape, HasSubstr("\nfinetune_gateway_members 3"));
  EXPECT_THAT(scrape, HasSubstr("\nfinetune_gateway_store_reachable 1"));
  fleet_.told.leads = false;
  fleet_.told.reachable = false;
  scrape = Scrape();
  EXPECT_THAT(scrape, HasSubstr("\nfinetune_gateway_leader 0"));
  EXPECT_THAT(scrape, HasSubstr("\nfinetune_gateway_store_reachable 0"));
}

TEST_F(FleetMetricsTest, ShowWhatTheDatabasePromisesAndTheClock) {
  std::string scrape = Scrape();
  EXPECT_THAT(scrape, HasSubstr("\nfinetune_gateway_store_synchronous 0"));
  EXPECT_THAT(scrape, HasSubstr("\nfinetune_gateway_store_standbys 0"));
  fleet_.told.is_synchronous = true;
  fleet_.told.standbys = 2;
  fleet_.told.skew = absl::Milliseconds(-1'500);
  scrape = Scrape();
  EXPECT_THAT(scrape, HasSubstr("\nfinetune_gateway_store_synchronous 1"));
  EXPECT_THAT(scrape, HasSubstr("\nfinetune_gateway_store_standbys 2"));
  EXPECT_THAT(scrape, HasSubstr("\nfinetune_gateway_clock_skew_seconds -1.5"));
}

TEST_F(FleetMetricsTest, TheLagCountsFromTheStartAsLongAsNothingWasSeen) {
  clock_.Advance(absl::Seconds(20));
  EXPECT_THAT(Scrape(), HasSubstr("\nfinetune_gateway_store_lag_seconds 20"));
  fleet_.told.complete = clock_.Now();
  clock_.Advance(absl::Seconds(3));
  EXPECT_THAT(Scrape(), HasSubstr("\nfinetune_gateway_store_lag_seconds 3"));
}

}  // namespace
}  // namespace finetune
