#include "server/gateway_metrics.h"

#include <gmock/gmock.h>

#include "tests/jobs/rig.h"

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class GatewayMetricsTest : public Rig {
 protected:
  void SetUp() override {
    StartProcess();
    ASSERT_TRUE(
        RunUntil([this] { return process_->catalog.observe_time() != absl::InfinitePast(); }));
    process_->tracker.Stop();
    metrics_ =
        std::make_unique<GatewayMetrics>(GatewayMetrics::Parts{.catalog = process_->catalog,
                                                               .recorder = process_->recorder,
                                                               .segmind = process_->client,
                                                               .tracker = process_->tracker,
                                                               .clock = clock_,
                                                               .metrics = process_->metrics},
                                         start_);
  }
  std::string Scrape() {
    metrics_->Update();
    return MetricsText();
  }

  const absl::Time start_ = clock_.Now();
  std::unique_ptr<GatewayMetrics> metrics_;
};

TEST_F(GatewayMetricsTest, SayWhichVersionRunsAndSinceWhen) {
  EXPECT_THAT(Scrape(),
              AllOf(HasSubstr("finetune_gateway_build_info{version=\"" FINETUNE_VERSION "\"} 1"),
                    HasSubstr("process_start_time_seconds 1700000000")));
}

TEST_F(GatewayMetricsTest, SayHowOldTheViewIsByItsNewestReadOrByTheStart) {
  const absl::Duration since_read = absl::Seconds(40);
  clock_.Advance(process_->catalog.observe_time() + since_read - clock_.Now());
  EXPECT_THAT(Scrape(), HasSubstr("finetune_gateway_view_age_seconds 40\n"));
  Catalog unread(Catalog::Options(), process_->metrics);
  GatewayMetrics other({.catalog = unread,
                        .recorder = process_->recorder,
                        .segmind = process_->client,
                        .tracker = process_->tracker,
                        .clock = clock_,
                        .metrics = process_->metrics},
                       clock_.Now() - absl::Seconds(7));
  other.Update();
  EXPECT_THAT(MetricsText(), HasSubstr("finetune_gateway_view_age_seconds 7\n"));
}

TEST_F(GatewayMetricsTest, SayWhetherTheRecordCanBeWrittenAndHowSegmindAnswers) {
  EXPECT_THAT(Scrape(), AllOf(HasSubstr("finetune_gateway_store_writable 1"),
                              HasSubstr("finetune_gateway_upstream_state 1"),
                              HasSubstr("\nfinetune_gateway_upstream_calls_left ")));
}

}  // namespace
}  // namespace finetune
