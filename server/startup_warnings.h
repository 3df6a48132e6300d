#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/access/access_policy.h"
#include "server/config.h"

namespace finetune {

// What is allowed and yet can hardly be meant, each in a sentence that says what to do: secrets
// that everybody on the machine may read, a certificate that has ended or soon will, callers that
// cannot be recognised. `certificate` is null without TLS, `policy` without one.
std::vector<std::string> FindStartupWarnings(const Config& config, const Validity* certificate,
                                             const AccessPolicy* policy, absl::Time now);

}  // namespace finetune
