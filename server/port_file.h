#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace finetune {

// The ports on which a gateway listens.
struct Ports {
  int grpc = 0;
  std::optional<int> webhook;
  int admin = 0;
};

// Writes them as JSON, for programs that start the gateway with port 0. Atomically, because readers
// may look at any time. INVALID_ARGUMENT, in one sentence, if it cannot be written.
absl::Status WritePortFile(const std::string& path, const Ports& ports);

}  // namespace finetune
