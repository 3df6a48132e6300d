#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace finetune::cli {

// The candidate that `word` was probably meant to be; empty if none is similar enough.
std::string NearestTo(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace finetune::cli
