#include "server/jobs/submission/budget_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/error.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

BudgetUse Use(int64_t limit, int64_t used, bool money = false) {
  BudgetUse use;
  use.budget.name = "art-month";
  use.budget.zone = absl::UTCTimeZone();
  use.budget.limit = limit;
  use.budget.money = money;
  use.unit = "credits";
  use.used = used;
  use.reset = kNow + absl::Hours(100);
  return use;
}
record::Charge Priced(int64_t micros, const std::string& unit = "credits") {
  record::Charge charge;
  charge.set_unit(unit);
  charge.set_micros(micros);
  return charge;
}

TEST(JudgeCharge, AllowsWhatFitsExactlyAndNotOneMore) {
  EXPECT_TRUE(JudgeCharge({Use(5, 4)}, Priced(1), kNow).refusal.ok());
  const BudgetVerdict verdict = JudgeCharge({Use(9, 0), Use(5, 5)}, Priced(1), kNow);
  EXPECT_EQ(ReasonOf(verdict.refusal), pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
  EXPECT_EQ(RetryDelayOf(verdict.refusal), absl::Hours(100));
  EXPECT_EQ(verdict.refused_by, "art-month");
  EXPECT_THAT(std::string(verdict.refusal.message()),
              HasSubstr("budget art-month: 0 jobs of 5 jobs left until 2023-11-"));
  EXPECT_TRUE(JudgeCharge({Use(5'000'000, 3'000'000, true)}, Priced(2'000'000), kNow).refusal.ok());
  EXPECT_FALSE(
      JudgeCharge({Use(5'000'000, 3'000'000, true)}, Priced(2'000'001), kNow).refusal.ok());
}

TEST(JudgeCharge, RefusesByMoneyWhatHasNoPriceInItsUnitUnlessThatIsAllowed) {
  BudgetUse use = Use(5'000'000, 0, true);
  EXPECT_FALSE(JudgeCharge({use}, record::Charge(), kNow).refusal.ok());
  EXPECT_FALSE(JudgeCharge({use}, Priced(1, "USD"), kNow).refusal.ok());
  use.budget.allow_unpriced = true;
  EXPECT_TRUE(JudgeCharge({use}, record::Charge(), kNow).refusal.ok());
  EXPECT_TRUE(JudgeCharge({Use(5, 0)}, record::Charge(), kNow).refusal.ok());
}

TEST(JudgeCharge, WarnsBeyondASoftOneAndNearTheEndOfAHardOne) {
  BudgetUse soft = Use(5, 5);
  soft.budget.soft = true;
  BudgetVerdict verdict = JudgeCharge({soft}, Priced(1), kNow);
  EXPECT_TRUE(verdict.refusal.ok());
  ASSERT_THAT(verdict.warnings, SizeIs(1));
  EXPECT_THAT(verdict.warnings[0].second,
              HasSubstr("budget art-month: 6 jobs of 5 jobs used with this job"));
  BudgetUse hard = Use(10, 6);
  EXPECT_THAT(JudgeCharge({hard}, Priced(1), kNow).warnings, IsEmpty());
  hard.budget.warn_at_percent = 80;
  EXPECT_THAT(JudgeCharge({hard}, Priced(1), kNow).warnings, IsEmpty());
  hard.used = 7;
  EXPECT_THAT(JudgeCharge({hard}, Priced(1), kNow).warnings, SizeIs(1));
  // A refusal says enough.
  EXPECT_THAT(JudgeCharge({soft, Use(1, 1)}, Priced(1), kNow).warnings, IsEmpty());
}

TEST(CheckCredits, RefusesOnlyWhatIsKnownNotToBePaid) {
  EXPECT_TRUE(CheckCredits(Priced(5), std::nullopt).ok());
  EXPECT_TRUE(CheckCredits(Priced(5), 5).ok());
  EXPECT_EQ(ReasonOf(CheckCredits(Priced(5), 4)), pb::ErrorReason::UPSTREAM_CREDITS_EXHAUSTED);
  EXPECT_TRUE(absl::IsResourceExhausted(CheckCredits(Priced(0), 0)));
  // What has no price in credits may cost anything: more than none is enough.
  EXPECT_TRUE(CheckCredits(record::Charge(), 1).ok());
  EXPECT_TRUE(CheckCredits(Priced(5, "USD"), 1).ok());
  EXPECT_FALSE(CheckCredits(record::Charge(), 0).ok());
}

TEST(ChargeOf, CountsByTheLabelsThatAreGuardedAndByNoOthers) {
  auto rules = std::make_shared<SpendingRules>();
  rules->unit = "credits";
  rules->guarded_labels = {"cost-center"};
  rules->prices = {{.base_model = "FLUX", .base_micros = 3}};
  const Spender spender{.team = "art", .rules = rules};
  pb::FineTune job;
  job.set_base_model("FLUX");
  (*job.mutable_labels())["cost-center"] = "7";
  (*job.mutable_labels())["run"] = "8";
  const record::Charge charge = ChargeOf(spender, job, kNow);
  EXPECT_EQ(charge.labels().size(), 1u);
  EXPECT_EQ(charge.team(), "art");
  EXPECT_EQ(charge.micros(), 3);
  ShowCharge(charge, job);
  EXPECT_EQ(job.estimated_cost().micros(), 3);
  EXPECT_FALSE(job.unpriced());
  job.set_base_model("QWEN");
  ShowCharge(ChargeOf(spender, job, kNow), job);
  EXPECT_FALSE(job.has_estimated_cost());
  EXPECT_TRUE(job.unpriced());
}

}  // namespace
}  // namespace finetune
