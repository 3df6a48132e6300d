#include "server/jobs/tracking/tracking_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class TrackingMetricsTest : public ::testing::Test {
 protected:
  std::string Scrape() {
    return prometheus::TextSerializer().Serialize(metrics_.registry()->Collect());
  }

  Metrics metrics_;
  TrackingMetrics tracking_{metrics_};
};

TEST_F(TrackingMetricsTest, CountsListsByWhatCameOfThem) {
  tracking_.CountPoll(/*changed=*/true);
  tracking_.CountPoll(/*changed=*/true);
  tracking_.CountPoll(/*changed=*/false);
  EXPECT_THAT(Scrape(), AllOf(HasSubstr("finetune_gateway_polls_total{result=\"changed\"} 2"),
                              HasSubstr("finetune_gateway_polls_total{result=\"unchanged\"} 1"),
                              HasSubstr("finetune_gateway_polls_total{result=\"failed\"} 0")));
  tracking_.CountFailedPoll();
  EXPECT_THAT(Scrape(), HasSubstr("finetune_gateway_polls_total{result=\"failed\"} 1"));
}

TEST_F(TrackingMetricsTest, SaysWhenTheNewestReadBeganByTheTimeOfDay) {
  tracking_.SetObserveTime(absl::UnixEpoch() + absl::Milliseconds(1'500));
  EXPECT_THAT(Scrape(), HasSubstr("finetune_gateway_observe_timestamp_seconds 1.5"));
}

TEST_F(TrackingMetricsTest, ShowsWhatIsNotKnown) {
  tracking_.SetUnsettled(3);
  tracking_.SetUndecided(2);
  tracking_.SetListIsPartial(true);
  tracking_.CountMissingMarker();
  tracking_.CountUnknownWord();
  EXPECT_THAT(Scrape(), AllOf(HasSubstr("\nfinetune_gateway_unsettled_submissions 3"),
                              HasSubstr("\nfinetune_gateway_submissions_undecided 2"),
                              HasSubstr("\nfinetune_gateway_list_partial 1"),
                              HasSubstr("\nfinetune_gateway_markers_missing_total 1"),
                              HasSubstr("\nfinetune_gateway_unknown_states_total 1")));
  tracking_.SetListIsPartial(false);
  EXPECT_THAT(Scrape(), HasSubstr("\nfinetune_gateway_list_partial 0"));
}

TEST_F(TrackingMetricsTest, MeasuresHowLongAWebhooksNewsTook) {
  tracking_.ObserveConfirm(absl::Milliseconds(1'500));
  EXPECT_THAT(Scrape(), AllOf(HasSubstr("\nfinetune_gateway_webhook_confirm_seconds_count 1"),
                              HasSubstr("\nfinetune_gateway_webhook_confirm_seconds_sum 1.5")));
}

}  // namespace
}  // namespace finetune
