#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace finetune {

// The whole file. INVALID_ARGUMENT that names the path and says why not.
absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace finetune
