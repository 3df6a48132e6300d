#pragma once

#include <string>

#include "server/jobs/record/version.h"

namespace finetune {

// What a caller asks for, with the signatures of its URLs: to be sent, not to be kept.
pb::FineTune SignedInputOf(const pb::FineTune& fine_tune);

// The same as it is kept, shown and compared, because a repeat may bring a URL with a new
// signature.
pb::FineTune UnsignedInputOf(const pb::FineTune& fine_tune);

// SHA-256 over what a caller asks for: equal for equal requests.
std::string FingerprintOf(const pb::FineTune& fine_tune);

}  // namespace finetune
