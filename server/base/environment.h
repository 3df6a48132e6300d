#pragma once

#include <map>
#include <string>

namespace finetune {

// The environment variables that are set, by name.
using Environment = std::map<std::string, std::string>;

}  // namespace finetune
