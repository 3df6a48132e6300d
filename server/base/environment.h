#pragma once

#include <map>
#include <string>

namespace finetune {

// Environment variables by their names; one that is not set is not in it.
using Environment = std::map<std::string, std::string>;

}  // namespace finetune
