#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/access/policy.pb.h"
#include "server/spending/spending_rules.h"

namespace finetune {

// What a policy says about money, checked. INVALID_ARGUMENT, in one sentence that says where it is
// wrong. It may name only callers and teams that the policy has.
absl::StatusOr<std::shared_ptr<const SpendingRules>> ReadSpendingRules(
    const policy::Policy& policy);

// What it says about the money of one of its callers.
absl::StatusOr<std::shared_ptr<const Spender>> ReadSpender(
    const policy::Caller& caller, const std::shared_ptr<const SpendingRules>& rules);

}  // namespace finetune
