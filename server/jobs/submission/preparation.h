#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "server/jobs/record/draft.h"
#include "server/jobs/submission/budget_check.h"
#include "server/jobs/submission/spending_limits.h"
#include "server/spending/spending_rules.h"
#include "server/store/membership.h"

namespace finetune {

// What a Preparation found.
struct Prepared {
  record::Intent intent;
  // Nothing was sent for it yet, and it is this process's to send.
  bool is_own = false;
  BudgetVerdict verdict;
};

// The mutation with which a submission begins. It finds what its request_id has become before or,
// if nothing, puts the intent which says that it is about to be sent, within the caller's limits
// and budgets. An error says why nothing may be sent: that of a limit, REQUEST_ID_REUSED, or
// STORE_UNAVAILABLE. May run more than once; each run reports anew what it found.
struct Preparation {
  absl::Status operator()(Draft& draft);

  // What is asked for; the rest of the intent is filled in.
  record::Intent intent;
  SpendingLimits limits;
  std::shared_ptr<const Spender> spender;  // Null: without prices, budgets and rules.
  bool markers = true;
  const Membership& membership;
  std::optional<int64_t> credits_left;  // Where the account must be able to pay for it.
  std::shared_ptr<Prepared> prepared;

 private:
  absl::Status Begin(Draft& draft, int attempt);
  // Not OK if a rule forbids the labels.
  absl::Status SetCharge(absl::Time now);
  // What cannot be counted is refused.
  absl::Status CheckBudgets(Draft& draft);
};

}  // namespace finetune
