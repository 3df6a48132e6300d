#pragma once

#include <memory>

#include "server/access/authenticator.h"
#include "server/access/policy_file.h"

namespace finetune {

// Recognises the callers of the policy: by the bearer token if the call has one, otherwise by the
// SPIFFE URI and the DNS names of the client certificate, which must not belong to two callers.
// `policy` outlives it.
std::unique_ptr<Authenticator> MakePolicyAuthenticator(const PolicyFile& policy);

}  // namespace finetune
