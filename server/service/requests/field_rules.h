#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace finetune {

// What is wrong with a value; empty if nothing. Pure functions.

// By Kubernetes' rules: `[prefix/]name` for a key.
std::string WrongWithLabelKey(std::string_view key);
std::string WrongWithLabelValue(std::string_view value);

// An http or https URL with a host and without credentials; at most 2,048 bytes without its
// signature and 8,192 with it.
std::string WrongWithUrl(std::string_view url);

// At most `most` characters, none of them a control character (except tabs and line breaks if
// `lines`).
std::string WrongWithText(std::string_view text, size_t most, bool lines = false);

// The name of a zip: no path, not hidden, at most 128 characters.
std::string WrongWithFileName(std::string_view file_name);

// Letters, digits, `_`, `-` and spaces, at most 64; `upper` allows only capitals, digits and `_`.
std::string WrongWithWord(std::string_view word, bool upper = false);

inline constexpr size_t kMaxLabels = 64;

}  // namespace finetune
