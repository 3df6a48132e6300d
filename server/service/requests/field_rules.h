#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace finetune {

// What is wrong with a value; empty if nothing. Pure functions.

// Kubernetes' rules: `[prefix/]name`.
std::string WrongWithLabelKey(std::string_view key);
std::string WrongWithLabelValue(std::string_view value);

// An http or https URL with a host and without credentials.
std::string WrongWithUrl(std::string_view url);

// At most `most` characters, none of them a control character (but tab and newline if `lines`).
std::string WrongWithText(std::string_view text, size_t most, bool lines = false);

// The name of a zip, without a path.
std::string WrongWithFileName(std::string_view file_name);

// Letters, digits, `_` and `-`, at most 64; `upper` allows only capitals, digits and `_`.
std::string WrongWithWord(std::string_view word, bool upper = false);

inline constexpr size_t kMaxLabels = 64;

}  // namespace finetune
