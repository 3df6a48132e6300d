#pragma once

#include <string>

#include "server/jobs/record/version.h"

namespace finetune {

// What a caller asks for, with what signs its URLs: to be sent, and not to be kept.
pb::FineTune SignedInputOf(const pb::FineTune& fine_tune);

// The same as it is kept, shown and compared: a repeat may bring a URL that was signed anew.
pb::FineTune UnsignedInputOf(const pb::FineTune& fine_tune);

// SHA-256 over what a caller asks for: equal for equal requests.
std::string FingerprintOf(const pb::FineTune& fine_tune);

}  // namespace finetune
