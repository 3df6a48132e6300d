#pragma once

#include <string>
#include <vector>

#include "server/config.h"

namespace finetune {

// What --check finds.
struct StartCheck {
  // What would stop the start, each in a sentence that names the flag.
  std::vector<std::string> errors;
  // What would not, and yet can hardly be meant.
  std::vector<std::string> warnings;
};

// Looks at all that a gateway with this configuration would begin with: limits, files, policy,
// addresses and record. Changes nothing, asks nobody on the network, and does not mind a gateway
// that already runs with the same configuration. What only the start can tell is not found: what is
// wrong within a record.
StartCheck CheckStart(const Config& config);

}  // namespace finetune
