#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace finetune {

// On which ports a gateway listens.
struct Ports {
  int grpc = 0;
  std::optional<int> webhook;
  int admin = 0;
};

// Writes them as JSON, for those who start the gateway with port 0. Whole or not at all: readers
// may look at any time. INVALID_ARGUMENT, in one sentence, if that cannot be done.
absl::Status WritePortFile(const std::string& path, const Ports& ports);

}  // namespace finetune
