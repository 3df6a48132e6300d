#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace finetune {

// The same text as the other kind of view: Debian's Abseil has a string_view of its own, and the
// two do not convert into each other.
inline absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view StdView(absl::string_view text) { return {text.data(), text.size()}; }

}  // namespace finetune
