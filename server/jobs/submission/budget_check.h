#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/jobs/record/draft.h"
#include "server/spending/spending_rules.h"

namespace finetune {

// A budget that a job counts towards, and how much of it is used.
struct BudgetUse {
  Budget budget;
  std::string unit;  // Of money.
  int64_t used = 0;
  absl::Time reset = absl::InfiniteFuture();  // When the period ends.

  int64_t left() const { return std::max<int64_t>(0, budget.limit - used); }
};

// What a new job of this spender's would be recorded with: its charge, as of `now`.
record::Charge ChargeOf(const Spender& spender, const pb::FineTune& job, absl::Time now);

// What callers are told of it.
void ShowCharge(const record::Charge& charge, pb::FineTune& job);

// The budgets that a job of this caller's with these labels counts towards, as of the draft's time.
// The store may fail to answer.
absl::StatusOr<std::vector<BudgetUse>> UsesOf(Draft& draft, const std::string& caller,
                                              const Spender& spender,
                                              const std::map<std::string, std::string>& labels);

// What a new job meets.
struct BudgetVerdict {
  // CLIENT_QUOTA_EXCEEDED, by the first budget that has no room for it.
  absl::Status refusal;
  std::string refused_by;  // That budget.
  // Of each budget that is spent, or nearly: its name, and a sentence. None if it is refused.
  std::vector<std::pair<std::string, std::string>> warnings;
};
BudgetVerdict JudgeCharge(const std::vector<BudgetUse>& uses, const record::Charge& charge,
                          absl::Time now);

// UPSTREAM_CREDITS_EXHAUSTED if the account, with this many millionths of a credit left, cannot pay
// for it. A job without a price in credits needs more than none. Nullopt means unknown: Segmind
// then decides.
absl::Status CheckCredits(const record::Charge& charge, std::optional<int64_t> credits_left);

}  // namespace finetune
