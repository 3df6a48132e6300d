#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "absl/functional/function_ref.h"

namespace finetune {

// Finds where things end in JSON text, 64 bytes at a time and without parsing it: it looks only at
// strings, escapes and brackets. The content of a range that it returns is not checked; a caller
// that has not seen these very bytes before must parse them.

// `text` begins with `{` or `[`: calls `child(begin, end)` for each bracketed range directly within
// it, in order, and returns the offset behind its own end. Nullopt if it does not end.
std::optional<size_t> ScanBrackets(std::string_view text,
                                   absl::FunctionRef<void(size_t begin, size_t end)> child);

// `text` begins with `[`: calls `item` with the range of each of the array's items, and returns the
// offset behind the array. Nullopt if it does not end, or if what stands between items is not
// exactly one comma and white space.
std::optional<size_t> ScanArray(std::string_view text,
                                absl::FunctionRef<void(std::string_view item)> item);

// One JSON value at the start of `text`: the offset behind it. A string or a bare word is only
// delimited. Nullopt if there is none or it does not end.
std::optional<size_t> ScanValue(std::string_view text);

// `text` from its first character that is not white space.
std::string_view SkipSpace(std::string_view text);

}  // namespace finetune
