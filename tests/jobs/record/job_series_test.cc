#include "server/jobs/record/job_series.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "prometheus/text_serializer.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Scrape(Metrics& metrics) {
  return prometheus::TextSerializer().Serialize(metrics.registry()->Collect());
}

TEST(JobSeries, AreThereFromTheStartForEveryState) {
  Metrics metrics;
  const ModelSeries series(metrics, "FLUX");
  const std::string scrape = Scrape(metrics);
  for (int i = 0; i < pb::FineTune::State_ARRAYSIZE; ++i) {
    if (!pb::FineTune::State_IsValid(i)) continue;
    const auto state = static_cast<pb::FineTune::State>(i);
    EXPECT_THAT(scrape, HasSubstr("finetune_gateway_jobs{base_model=\"FLUX\",state=\"" +
                                  pb::FineTune::State_Name(state) + "\"} 0"));
    // A job goes on from a state, or ends in it.
    EXPECT_NE(series.ended[state] == nullptr, series.oldest[state] == nullptr);
    EXPECT_EQ(series.oldest[state] == nullptr, series.lasted[state] == nullptr);
    EXPECT_EQ(series.ended[state] != nullptr, IsTerminal(state));
  }
  for (const char* name : {"created_total", "failed_total", "ended_total"})
    EXPECT_THAT(scrape, HasSubstr(std::string("finetune_gateway_jobs_") + name));
}

TEST(JobSeries, TakeWhatThisVersionDoesNotKnowForUnspecified) {
  Metrics metrics;
  const ModelSeries series(metrics, "FLUX");
  const auto later = static_cast<pb::FineTune::State>(77);
  EXPECT_EQ(series.jobs[later], series.jobs[pb::FineTune::STATE_UNSPECIFIED]);
  const auto before = static_cast<pb::FineTune::State>(-1);
  EXPECT_EQ(series.jobs[before], series.jobs[pb::FineTune::STATE_UNSPECIFIED]);
  EXPECT_EQ(&series.FailedFor(static_cast<pb::Failure::Reason>(77)),
            &series.FailedFor(pb::Failure::REASON_UNSPECIFIED));
  EXPECT_NE(&series.FailedFor(pb::Failure::OUT_OF_MEMORY),
            &series.FailedFor(pb::Failure::REASON_UNSPECIFIED));
}

TEST(JobSeries, OfACallerSayOnlyHowItsJobsEnd) {
  Metrics metrics;
  const CallerSeries series(metrics, "alice");
  EXPECT_EQ(series.ended[pb::FineTune::TRAINING], nullptr);
  series.ended[pb::FineTune::AVAILABLE]->Increment();
  const std::string scrape = Scrape(metrics);
  EXPECT_THAT(scrape, HasSubstr("finetune_gateway_caller_jobs_ended_total{caller=\"alice\","
                                "state=\"AVAILABLE\"} 1"));
  EXPECT_THAT(scrape, HasSubstr("finetune_gateway_caller_active_jobs{caller=\"alice\"} 0"));
  EXPECT_THAT(scrape, Not(HasSubstr("TRAINING")));
}

}  // namespace
}  // namespace finetune
