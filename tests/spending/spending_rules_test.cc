#include "server/spending/spending_rules.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

Spender With(std::vector<LabelRule> labels) {
  auto rules = std::make_shared<SpendingRules>();
  rules->guarded_labels = {"cost-center", "project"};
  return {.labels = std::move(labels), .rules = rules};
}
pb::FineTune Labelled(const std::map<std::string, std::string>& labels) {
  pb::FineTune job;
  *job.mutable_labels() = {labels.begin(), labels.end()};
  return job;
}
std::string Refused(const Spender& spender, const std::map<std::string, std::string>& labels) {
  const auto made = LabelsFor(spender, Labelled(labels));
  if (made.ok()) return "";
  EXPECT_EQ(ReasonOf(made.status()), pb::ErrorReason::INVALID_FIELD);
  return std::string(made.status().message());
}

TEST(LabelsFor, LetsOnlyThoseWithARuleSetWhatSpendingIsCountedBy) {
  EXPECT_NE(Refused(With({}), {{"cost-center", "7"}}), "");
  EXPECT_EQ(Refused(With({}), {{"run", "7"}}), "");
  EXPECT_EQ(Refused(With({{.key = "cost-center"}}), {{"cost-center", "7"}}), "");
  EXPECT_NE(Refused(With({{.key = "cost-center"}}), {{"project", "7"}}), "");
  const Spender choice = With({{.key = "cost-center", .values = {"7", "8"}}});
  EXPECT_EQ(Refused(choice, {{"cost-center", "8"}}), "");
  EXPECT_NE(Refused(choice, {{"cost-center", "9"}}), "");
  EXPECT_EQ(Refused(choice, {}), "");
}

TEST(LabelsFor, SetsASingleOneThatIsRequiredAndAsksForOthers) {
  const Spender one = With({{.key = "cost-center", .values = {"7"}, .required = true}});
  EXPECT_EQ(LabelsFor(one, Labelled({{"run", "1"}})).value(),
            (std::map<std::string, std::string>{{"cost-center", "7"}, {"run", "1"}}));
  EXPECT_NE(Refused(one, {{"cost-center", "8"}}), "");
  EXPECT_NE(Refused(With({{.key = "project", .required = true}}), {}), "");
}

}  // namespace
}  // namespace finetune
