#include "server/access/spending_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/access/json_message.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

policy::Policy Read(const std::string& more) {
  policy::Policy policy;
  const absl::Status read = ReadJsonMessage(
      absl::StrCat(R"({"callers":[{"name":"a","role":"SUBMITTER","team":"art","labels":)",
                   R"([{"key":"project","required":true}]},{"name":"b","role":"VIEWER"}],)", more,
                   "}"),
      policy);
  EXPECT_TRUE(read.ok()) << read << more;
  return policy;
}
std::string SpendingError(const std::string& more) {
  const auto rules = ReadSpendingRules(Read(more));
  return rules.ok() ? "accepted" : std::string(rules.status().message());
}

TEST(SpendingPolicy, ReadsPricesBudgetsAndLabels) {
  const auto policy = Read(R"(
      "unit":"USD","prices":[
        {"baseModel":"FLUX","base_micros":"1500000","per_step_micros":20,"default_steps":100,
         "valid_from":"2026-01-01T00:00:00Z"},
        {"base_micros":7}],
      "budgets":[
        {"name":"art-month","team":"art","period":"MONTH","time_zone":"Europe/Berlin","micros":"5000000",
         "warn_at_percent":80},
        {"name":"all","account":true,"period":"AT_ONCE","jobs":4,"soft":true},
        {"name":"center","label":{"key":"cost-center"},"period":"DAY","jobs":1}])");
  const auto rules = ReadSpendingRules(policy);
  ASSERT_TRUE(rules.ok()) << rules.status();
  const SpendingRules& read = **rules;
  EXPECT_EQ(read.unit, "USD");
  ASSERT_EQ(read.prices.size(), 2u);
  EXPECT_EQ(read.prices[0].base_micros, 1'500'000);
  EXPECT_EQ(read.prices[0].default_steps, 100);
  ASSERT_EQ(read.budgets.size(), 3u);
  EXPECT_TRUE(read.budgets[0].money);
  EXPECT_EQ(read.budgets[0].limit, 5'000'000);
  EXPECT_EQ(read.budgets[0].zone.name(), "Europe/Berlin");
  EXPECT_EQ(read.budgets[1].period, std::nullopt);
  EXPECT_TRUE(read.budgets[1].soft);
  EXPECT_THAT(read.guarded_labels, testing::ElementsAre("cost-center", "project"));
  const auto spender = ReadSpender(policy.callers(0), *rules);
  ASSERT_TRUE(spender.ok()) << spender.status();
  EXPECT_EQ((*spender)->team, "art");
  EXPECT_TRUE((*spender)->labels[0].required);
}

TEST(SpendingPolicy, SaysWhatIsWrong) {
  const auto budget = [](const std::string& fields) {
    return SpendingError(absl::StrCat(R"("budgets":[{"name":"x",)", fields, "}]"));
  };
  EXPECT_EQ(budget(R"("account":true,"period":"DAY","jobs":0)"), "accepted");
  EXPECT_THAT(budget(R"("period":"DAY","jobs":1)"), HasSubstr("budgets[0]: needs one of account"));
  EXPECT_THAT(budget(R"("account":false,"period":"DAY","jobs":1)"), HasSubstr("account is true"));
  EXPECT_THAT(budget(R"("caller":"c","period":"DAY","jobs":1)"), HasSubstr("no caller 'c'"));
  EXPECT_THAT(budget(R"("team":"sea","period":"DAY","jobs":1)"), HasSubstr("team 'sea'"));
  EXPECT_THAT(budget(R"("team":"","period":"DAY","jobs":1)"), HasSubstr("team ''"));
  EXPECT_THAT(budget(R"("label":{},"period":"DAY","jobs":1)"), HasSubstr("label.key"));
  EXPECT_THAT(budget(R"("account":true,"jobs":1)"), HasSubstr("period must be"));
  EXPECT_THAT(budget(R"("account":true,"period":"DAY")"), HasSubstr("jobs or micros"));
  EXPECT_THAT(budget(R"("account":true,"period":"DAY","jobs":1,"micros":1)"),
              HasSubstr("not both"));
  EXPECT_THAT(budget(R"("account":true,"period":"DAY","jobs":-1)"), HasSubstr("must be 0 to"));
  EXPECT_THAT(budget(R"("account":true,"period":"DAY","micros":1)"), HasSubstr("no prices"));
  EXPECT_THAT(budget(R"("account":true,"period":"DAY","time_zone":"Mars/Base","jobs":1)"),
              HasSubstr("no time zone 'Mars/Base'"));
  EXPECT_THAT(budget(R"("account":true,"period":"AT_ONCE","time_zone":"UTC","jobs":1)"),
              HasSubstr("AT_ONCE"));
  EXPECT_THAT(budget(R"("account":true,"period":"DAY","jobs":1,"warn_at_percent":101)"),
              HasSubstr("warn_at_percent"));
  EXPECT_THAT(budget(R"("account":true,"period":"DAY","jobs":1,"allow_unpriced":true)"),
              HasSubstr("allow_unpriced"));
  EXPECT_THAT(SpendingError(R"("budgets":[{"name":"a b","account":true,"period":"DAY","jobs":1}])"),
              HasSubstr("name must be"));
  EXPECT_THAT(SpendingError(R"("budgets":[{"name":"x","account":true,"period":"DAY","jobs":1},
                                    {"name":"x","account":true,"period":"DAY","jobs":1}])"),
              HasSubstr("budgets[1]: the name 'x' is there twice"));
  EXPECT_THAT(SpendingError(R"("unit":"€")"), HasSubstr("unit must be"));
  EXPECT_THAT(SpendingError(R"("prices":[{"base_micros":-1}])"),
              HasSubstr("prices[0]: base_micros"));
  EXPECT_THAT(SpendingError(R"("prices":[{"base_micros":1,"default_steps":5}])"),
              HasSubstr("go with per_step_micros"));
  EXPECT_THAT(
      SpendingError(R"("prices":[{"base_micros":1},{"base_model":"FLUX","base_micros":2}])"),
      HasSubstr("prices[1]: never fits a job, because prices[0]"));
  EXPECT_THAT(SpendingError(R"("prices":[{"valid_from":"2026-01-02T00:00:00Z",
                                    "valid_until":"2026-01-01T00:00:00Z"}])"),
              HasSubstr("before valid_until"));
}

TEST(SpendingPolicy, RefusesLabelsThatNoJobCouldCarry) {
  const auto rules = ReadSpendingRules(Read(R"("unit":"x")")).value();
  policy::Caller caller;
  caller.add_labels()->set_key("a=b");
  EXPECT_FALSE(ReadSpender(caller, rules).ok());
  caller.mutable_labels(0)->set_key("a");
  EXPECT_TRUE(ReadSpender(caller, rules).ok());
  caller.mutable_labels(0)->add_values("x\ny");
  EXPECT_FALSE(ReadSpender(caller, rules).ok());
  caller.mutable_labels(0)->clear_values();
  caller.add_labels()->set_key("a");
  EXPECT_FALSE(ReadSpender(caller, rules).ok());
  caller.clear_labels();
  caller.set_team("a b");
  EXPECT_FALSE(ReadSpender(caller, rules).ok());
}

}  // namespace
}  // namespace finetune
