#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/access/policy.pb.h"
#include "server/spending/spending_rules.h"

namespace finetune {

// What a policy says of money, checked. INVALID_ARGUMENT in one sentence that says where it is
// wrong. Names of callers and teams must be those of callers in it.
absl::StatusOr<std::shared_ptr<const SpendingRules>> ReadSpendingRules(
    const policy::Policy& policy);

// Of one of its callers.
absl::StatusOr<std::shared_ptr<const Spender>> ReadSpender(
    const policy::Caller& caller, const std::shared_ptr<const SpendingRules>& rules);

}  // namespace finetune
