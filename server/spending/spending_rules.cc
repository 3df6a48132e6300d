#include "server/spending/spending_rules.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace finetune {
namespace {

absl::Status WrongLabel(const std::string& key, const std::string& why) {
  return Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD,
               absl::StrCat("fine_tune.labels.", key, ": ", why))
      .Field(absl::StrCat("fine_tune.labels.", key), why);
}

const LabelRule* RuleOf(const Spender& spender, const std::string& key) {
  for (const LabelRule& rule : spender.labels)
    if (rule.key == key) return &rule;
  return nullptr;
}

bool Allows(const LabelRule& rule, const std::string& value) {
  return rule.values.empty() ||
         std::find(rule.values.begin(), rule.values.end(), value) != rule.values.end();
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> LabelsFor(const Spender& spender,
                                                             const pb::FineTune& job) {
  std::map<std::string, std::string> labels(job.labels().begin(), job.labels().end());
  for (const auto& [key, value] : labels) {
    if (!spender.rules->guarded_labels.contains(key)) continue;
    const LabelRule* rule = RuleOf(spender, key);
    if (rule == nullptr)
      return WrongLabel(key, "spending is counted by it, and your policy does not let you set it");
    if (!Allows(*rule, value))
      return WrongLabel(key, absl::StrCat("may only be ", absl::StrJoin(rule->values, ", ")));
  }
  for (const LabelRule& rule : spender.labels) {
    if (!rule.required || labels.contains(rule.key)) continue;
    if (rule.values.size() != 1) return WrongLabel(rule.key, "is required by your policy");
    labels[rule.key] = rule.values.front();
  }
  return labels;
}

}  // namespace finetune
