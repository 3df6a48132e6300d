#pragma once

#include <string>
#include <string_view>

namespace finetune {

// `text` as valid UTF-8: invalid bytes are replaced by U+FFFD, and the result is cut between two
// characters so that it has at most `limit` bytes.
std::string ValidUtf8(std::string_view text, size_t limit = std::string_view::npos);

}  // namespace finetune
