#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/base/error.h"
#include "server/spending/period.h"
#include "server/spending/price_list.h"

namespace finetune {

// How much may be spent, and by whom; see policy.proto.
struct Budget {
  enum class Of { kAccount, kCaller, kTeam, kLabel };

  std::string name;
  Of of = Of::kAccount;
  std::string subject;               // The caller, the team, or the label's key.
  std::string value;                 // The label's; empty: each value has its own.
  std::optional<PeriodKind> period;  // Absent: at once.
  absl::TimeZone zone;
  bool money = false;  // Else jobs.
  int64_t limit = 0;
  bool soft = false;
  int64_t warn_at_percent = 0;  // 0: not before it is spent.
  bool allow_unpriced = false;
};

// A label that a caller's jobs may carry.
struct LabelRule {
  std::string key;
  std::vector<std::string> values;  // Empty: any.
  bool required = false;
};

// What a policy says about money; the same for all its callers. Immutable.
struct SpendingRules {
  std::vector<Price> prices;
  std::string unit;
  std::vector<Budget> budgets;
  // Labels that only a caller with a rule for them may set, and that spending is counted by.
  std::set<std::string> guarded_labels;
};

// Who spends, and by which rules. Immutable.
struct Spender {
  std::string team;
  std::vector<LabelRule> labels;
  std::shared_ptr<const SpendingRules> rules;  // Never null.
};

// The labels of a new job: those that it asks for, and those that the caller's rules set.
// INVALID_ARGUMENT / INVALID_FIELD for one that the caller may not set, or must.
absl::StatusOr<std::map<std::string, std::string>> LabelsFor(const Spender& spender,
                                                             const pb::FineTune& job);

}  // namespace finetune
