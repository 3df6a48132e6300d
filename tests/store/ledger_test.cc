#include "server/store/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/error.h"
#include "server/base/time_proto.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;

record::FineTuneRecord Job(pb::FineTune::State state) {
  record::FineTuneRecord record;
  pb::FineTune& job = *record.mutable_fine_tune();
  job.set_name("fineTunes/a");
  job.set_creator("alice");
  job.set_base_model("FLUX");
  job.set_state(state);
  record.set_request_id("r");
  record::Charge& charge = *record.mutable_charge();
  *charge.mutable_time() = ToProto(absl::FromUnixSeconds(1'000'000));
  charge.set_team("art");
  (*charge.mutable_labels())["cost-center"] = "7";
  charge.set_unit("credits");
  charge.set_micros(2'500'000);
  return record;
}

TEST(Ledger, CountsQuartersOfAnHourOnBothSidesOf1970) {
  EXPECT_EQ(QuarterOf(absl::UnixEpoch()), 0);
  EXPECT_EQ(QuarterOf(absl::UnixEpoch() + absl::Minutes(15) - absl::Nanoseconds(1)), 0);
  EXPECT_EQ(QuarterOf(absl::UnixEpoch() - absl::Nanoseconds(1)), -1);
  EXPECT_EQ(StartOf(QuarterOf(absl::FromUnixSeconds(1'000'000))),
            absl::FromUnixSeconds(1'000'000 / 900 * 900));
}

TEST(Ledger, CountsAJobByWhatSegmindSaysThatItCosts) {
  record::FineTuneRecord record = Job(pb::FineTune::TRAINING);
  const auto billed = [&](const std::string& unit, int64_t micros) {
    record.mutable_fine_tune()->mutable_billed_cost()->set_unit("credits");
    record.mutable_fine_tune()->mutable_billed_cost()->set_micros(micros);
    record.mutable_charge()->set_unit(unit);
    const auto counted = CountedOf(record);
    return std::pair(counted->key.unit, counted->count.micros);
  };
  EXPECT_EQ(billed("credits", 9), (std::pair<std::string, int64_t>("credits", 9)));
  // One without a price has one now.
  EXPECT_EQ(billed("", 9), (std::pair<std::string, int64_t>("credits", 9)));
  // The operator's prices are in something else.
  EXPECT_EQ(billed("USD", 9), (std::pair<std::string, int64_t>("USD", 2'500'000)));
  EXPECT_EQ(billed("credits", -1).second, 2'500'000);
  EXPECT_EQ(billed("credits", int64_t{1} << 60).second, 2'500'000);
}

TEST(Ledger, KeepsLabelsAsTheyWere) {
  const std::map<std::string, std::string> labels = {{"a", ""}, {"b/c", "x"}, {"d", "y_z"}};
  EXPECT_EQ(DecodeLabels(EncodeLabels(labels)), labels);
  EXPECT_EQ(EncodeLabels({}), "");
}

TEST(Ledger, CountsAJobByWhatBecameOfIt) {
  const std::pair<pb::FineTune::State, JobOutcome> kOutcomes[] = {
      {pb::FineTune::SUBMIT_UNKNOWN, JobOutcome::kOpen},
      {pb::FineTune::TRAINING, JobOutcome::kOpen},
      {pb::FineTune::AVAILABLE, JobOutcome::kAvailable},
      {pb::FineTune::FAILED, JobOutcome::kFailed},
      {pb::FineTune::CANCELLED, JobOutcome::kCancelled},
      {pb::FineTune::LOST, JobOutcome::kLost}};
  for (const auto& [state, outcome] : kOutcomes) {
    const auto counted = CountedOf(Job(state));
    ASSERT_TRUE(counted.has_value());
    EXPECT_EQ(counted->key.outcome, outcome);
    EXPECT_EQ(counted->key.quarter, 1'000'000 / 900);
    EXPECT_THAT(SubjectsOf(counted->key),
                ElementsAre("account", "caller:alice", "team:art", "label:cost-center=7"));
    EXPECT_EQ(counted->count, (SpendingCount{1, 2'500'000}));
  }
  record::FineTuneRecord dormant = Job(pb::FineTune::QUEUED);
  dormant.set_dormant(true);
  EXPECT_EQ(CountedOf(dormant)->key.outcome, JobOutcome::kDormant);
}

TEST(Ledger, CountsNothingThatWasNotSpentHere) {
  record::FineTuneRecord elsewhere = Job(pb::FineTune::AVAILABLE);
  elsewhere.clear_request_id();
  EXPECT_EQ(CountedOf(elsewhere), std::nullopt);
  record::FineTuneRecord never = Job(pb::FineTune::FAILED);
  never.mutable_fine_tune()->mutable_failure()->set_reason(pb::Failure::NOT_SUBMITTED);
  EXPECT_EQ(CountedOf(never), std::nullopt);
}

TEST(Ledger, CountsAJobFromBeforeThereWereCharges) {
  record::FineTuneRecord old = Job(pb::FineTune::AVAILABLE);
  old.clear_charge();
  *old.mutable_fine_tune()->mutable_create_time() = ToProto(absl::FromUnixSeconds(900));
  EXPECT_EQ(CountedOf(old)->key.quarter, 1);
  EXPECT_EQ(CountedOf(old)->key.unit, "");
}

TEST(Ledger, CountsAnIntentUntilItsJobIsVisibleOrItIsSettled) {
  record::Intent intent;
  intent.set_caller("alice");
  intent.set_fine_tune_id("b");
  for (const auto state : {record::Intent::PREPARED, record::Intent::UNKNOWN}) {
    intent.set_state(state);
    EXPECT_EQ(CountedOf(intent)->key.outcome, JobOutcome::kOpen);
  }
  LedgerSum ledger;
  ledger.Add(Job(pb::FineTune::SUBMIT_UNKNOWN));
  ledger.Add(intent);
  intent.set_fine_tune_id("a");  // The job's.
  ledger.Add(intent);
  int64_t jobs = 0;
  for (const auto& [key, count] : ledger.rows()) jobs += count.jobs;
  EXPECT_EQ(jobs, 2);
  for (const auto state :
       {record::Intent::ACCEPTED, record::Intent::NOT_SUBMITTED, record::Intent::REFUSED}) {
    intent.set_state(state);
    EXPECT_EQ(CountedOf(intent), std::nullopt);
  }
}

TEST(Ledger, ChangesOnlyTheTotalsThatAMoveIsAbout) {
  const CountedJob open = *CountedOf(Job(pb::FineTune::TRAINING));
  const CountedJob ended = *CountedOf(Job(pb::FineTune::FAILED));
  SpendingRows moved;
  moved[open.key] = {-1, -open.count.micros};
  moved[ended.key] = ended.count;
  for (const TotalChange& change : ChangesOfTotals(moved)) {
    EXPECT_EQ(change.measure, kCountOpen) << change.subject;
    EXPECT_EQ(change.amount, -1);
  }
  EXPECT_EQ(ChangesOfTotals(moved).size(), 4u);
  const TotalKey key{.subject = "team:art", .measure = UnitMeasure("credits")};
  EXPECT_EQ(AmountIn(key, {{ended.key, ended.count}}), 2'500'000);
  EXPECT_EQ(
      AmountIn({.subject = "team:art", .measure = UnitMeasure("USD")}, {{ended.key, ended.count}}),
      0);
  EXPECT_EQ(AmountIn({.subject = "team:art", .measure = kCountJobs, .start = 2'000},
                     {{ended.key, ended.count}}),
            0);
}

}  // namespace
}  // namespace finetune
