#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "server/base/error.h"
#include "server/spending/spending_rules.h"

namespace finetune {

class CallerUse;

// What a caller may do, numbered as in the contract. Each role may do all that the ones before it
// may.
enum class Role {
  kViewer = pb::CallerIdentity::VIEWER,
  kSubmitter = pb::CallerIdentity::SUBMITTER,
  kAdmin = pb::CallerIdentity::ADMIN,
};

// How much a caller may do; an absent limit is none. policy.proto says what each counts.
struct CallerLimits {
  std::optional<int64_t> creates_per_day;
  std::optional<int64_t> active_jobs;
  std::optional<double> calls_per_second;
  std::optional<int64_t> watchers;
  std::optional<int64_t> transfers;
};

// Who makes a call. Immutable once made.
struct Caller {
  // As it appears in `creator`; empty where callers are not told apart.
  std::string identity;
  Role role = Role::kViewer;
  // False: it sees only the jobs that it created; those of others are NOT_FOUND to it.
  bool sees_all = false;
  CallerLimits limits;
  // What it is using at the moment; the same object for as long as the process knows the caller,
  // even if its limits change. Null: counted together with all other callers that have none.
  std::shared_ptr<CallerUse> use;
  // What its jobs cost, and may cost. Null if no policy is set.
  std::shared_ptr<const Spender> spender = nullptr;
};

// What a credential says: whose it is, and when it expires. Only JWTs have a known end.
struct Admission {
  std::shared_ptr<const Caller> caller;  // Never null.
  absl::Time good_until = absl::InfiniteFuture();
};

}  // namespace finetune
