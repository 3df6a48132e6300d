#include "server/spending/price_list.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);

pb::FineTune Job(const std::string& model, int steps = 0) {
  pb::FineTune job;
  job.set_base_model(model);
  if (steps > 0) job.mutable_parameters()->set_steps(steps);
  return job;
}

TEST(PriceOf, TakesTheFirstThatFits) {
  const std::vector<Price> prices = {
      {.base_model = "FLUX", .machine_type = "NVIDIA_H100", .base_micros = 5},
      {.base_model = "FLUX", .base_micros = 3, .per_step_micros = 2},
      {.base_micros = 9}};
  pb::FineTune big = Job("FLUX", 100);
  big.set_machine_type("NVIDIA_H100");
  EXPECT_EQ(PriceOf(prices, big, kNow), 5);
  EXPECT_EQ(PriceOf(prices, Job("FLUX", 100), kNow), 203);
  EXPECT_EQ(PriceOf(prices, Job("QWEN"), kNow), 9);
  EXPECT_EQ(PriceOf({}, Job("QWEN"), kNow), std::nullopt);
}

TEST(PriceOf, GuessesNoSteps) {
  std::vector<Price> prices = {{.base_micros = 1, .per_step_micros = 10}, {.base_micros = 7}};
  EXPECT_EQ(PriceOf(prices, Job("FLUX"), kNow), std::nullopt) << "the next one is not meant";
  prices[0].default_steps = 50;
  EXPECT_EQ(PriceOf(prices, Job("FLUX"), kNow), 501);
  EXPECT_EQ(PriceOf(prices, Job("FLUX", 3), kNow), 31);
}

TEST(PriceOf, ReadsTheStepsWhereSegmindHasThem) {
  const std::vector<Price> prices = {
      {.per_step_micros = 10, .steps_parameter = "iterations", .default_steps = 7}};
  EXPECT_EQ(PriceOf(prices, Job("FLUX_PRO", 3), kNow), 70);
  pb::FineTune job = Job("FLUX_PRO");
  (*job.mutable_parameters()->mutable_integers())["iterations"] = 4;
  EXPECT_EQ(PriceOf(prices, job, kNow), 40);
  job = Job("FLUX_PRO");
  auto& extra = (*job.mutable_parameters()->mutable_extra()->mutable_fields())["iterations"];
  extra.set_number_value(5);
  EXPECT_EQ(PriceOf(prices, job, kNow), 50);
  for (const double odd : {0.5, -3.0, 0.0, 1e300}) {
    extra.set_number_value(odd);
    EXPECT_EQ(PriceOf(prices, job, kNow), std::nullopt) << odd;
  }
  extra.set_string_value("many");
  EXPECT_EQ(PriceOf(prices, job, kNow), std::nullopt);
}

TEST(PriceOf, HasNoPriceForWhatCannotBeSummed) {
  const std::vector<Price> prices = {{.base_micros = kMaxJobMicros, .per_step_micros = 1}};
  EXPECT_EQ(PriceOf(prices, Job("FLUX", 1), kNow), std::nullopt);
  pb::FineTune job = Job("FLUX");
  (*job.mutable_parameters()->mutable_integers())["steps"] = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(PriceOf({{.per_step_micros = 5}}, job, kNow), std::nullopt);
}

TEST(PriceOf, HoldsFromItsFirstMomentUntilItsLast) {
  const std::vector<Price> prices = {
      {.base_micros = 1, .valid_until = kNow},
      {.base_micros = 2, .valid_from = kNow, .valid_until = kNow + absl::Hours(1)}};
  EXPECT_EQ(PriceOf(prices, Job("FLUX"), kNow - absl::Nanoseconds(1)), 1);
  EXPECT_EQ(PriceOf(prices, Job("FLUX"), kNow), 2);
  EXPECT_EQ(PriceOf(prices, Job("FLUX"), kNow + absl::Hours(1)), std::nullopt);
}

}  // namespace
}  // namespace finetune
