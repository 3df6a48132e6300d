#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace finetune::inline client {

// The content of a file that is small by its nature: certificates, a key, a token. INVALID_ARGUMENT
// for one that cannot be read, is empty or far too large, in one sentence with `what` it is.
absl::StatusOr<std::string> ReadSmallFile(std::string_view what, const std::string& path);

}  // namespace finetune::inline client
