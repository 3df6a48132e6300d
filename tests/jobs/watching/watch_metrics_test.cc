#include "server/jobs/watching/watch_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class WatchMetricsTest : public testing::Test {
 protected:
  std::string Shown() const {
    return prometheus::TextSerializer().Serialize(metrics_.registry()->Collect());
  }

  Metrics metrics_;
  WatchMetrics watch_metrics_{metrics_};
};

TEST_F(WatchMetricsTest, AllSeriesAreThereFromTheStart) {
  for (const char* type :
       {"SNAPSHOT", "CREATED", "UPDATED", "LEFT_FILTER", "SYNCED", "HEARTBEAT", "RESET"}) {
    EXPECT_THAT(Shown(), HasSubstr(std::string("watch_messages_total{type=\"") + type + "\"} 0\n"));
  }
  EXPECT_THAT(Shown(), HasSubstr("watch_resets_total{reason=\"TOO_SLOW\"} 0\n"));
  EXPECT_THAT(Shown(), Not(HasSubstr("REASON_UNSPECIFIED")));
}

TEST_F(WatchMetricsTest, AResetWithoutAReasonCountsNowhere) {
  watch_metrics_.CountReset(pb::Restart::REASON_UNSPECIFIED);
  watch_metrics_.CountReset(pb::Restart::TOO_SLOW);
  EXPECT_THAT(Shown(), HasSubstr("watch_resets_total{reason=\"TOO_SLOW\"} 1\n"));
}

TEST_F(WatchMetricsTest, ATallyIsHandedOverWhenItIsFlushedOrGoes) {
  {
    DeliveryTally tally(watch_metrics_);
    tally.Count(WatchMessage::kSnapshot);
    tally.Count(WatchMessage::kSnapshot);
    tally.Lag(absl::Milliseconds(2));
    EXPECT_THAT(Shown(), HasSubstr("watch_messages_total{type=\"SNAPSHOT\"} 0\n"));
    tally.Flush();
    EXPECT_THAT(Shown(), HasSubstr("watch_messages_total{type=\"SNAPSHOT\"} 2\n"));
    tally.Flush();  // Nothing new.
    tally.Count(WatchMessage::kReset);
  }
  EXPECT_THAT(Shown(), HasSubstr("watch_messages_total{type=\"SNAPSHOT\"} 2\n"));
  EXPECT_THAT(Shown(), HasSubstr("watch_messages_total{type=\"RESET\"} 1\n"));
  EXPECT_THAT(Shown(), HasSubstr("grpc_method=\"WatchFineTunes\""));
  EXPECT_THAT(Shown(), HasSubstr("finetune_gateway_delivery_lag_seconds_count 1\n"));
}

TEST_F(WatchMetricsTest, LagsOfAnyLengthFindTheirBucket) {
  DeliveryTally tally(watch_metrics_);
  tally.Lag(-absl::Seconds(1));  // The clock was set back.
  tally.Lag(absl::Microseconds(500));
  tally.Lag(absl::Seconds(30));
  tally.Lag(absl::Hours(1));
  tally.Flush();
  EXPECT_THAT(Shown(), HasSubstr("delivery_lag_seconds_bucket{le=\"0.0005\"} 2\n"));
  EXPECT_THAT(Shown(), HasSubstr("delivery_lag_seconds_bucket{le=\"30\"} 3\n"));
  EXPECT_THAT(Shown(), HasSubstr("delivery_lag_seconds_bucket{le=\"+Inf\"} 4\n"));
}

TEST(WatchMessage, WhatIsNewerThanThisCodeCountsAsAnUpdate) {
  EXPECT_EQ(WatchMessageOf(pb::Change::SNAPSHOT), WatchMessage::kSnapshot);
  EXPECT_EQ(WatchMessageOf(pb::Change::CREATED), WatchMessage::kCreated);
  EXPECT_EQ(WatchMessageOf(pb::Change::UPDATED), WatchMessage::kUpdated);
  EXPECT_EQ(WatchMessageOf(pb::Change::LEFT_FILTER), WatchMessage::kLeftFilter);
  EXPECT_EQ(WatchMessageOf(static_cast<pb::Change::Type>(99)), WatchMessage::kUpdated);
}

}  // namespace
}  // namespace finetune
