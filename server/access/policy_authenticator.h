#pragma once

#include <memory>

#include "server/access/authenticator.h"
#include "server/access/policy_file.h"

namespace finetune {

// Knows callers by the policy: by their bearer token if they send one, or else by their client
// certificate's SPIFFE URI and DNS names, which must not be those of two callers. `policy`
// outlives it.
std::unique_ptr<Authenticator> MakePolicyAuthenticator(const PolicyFile& policy);

}  // namespace finetune
