#pragma once

#include <string>
#include <string_view>

namespace finetune {

// `text` as valid UTF-8: what is not is replaced by U+FFFD, and what exceeds `limit` bytes is cut
// at a character.
std::string ValidUtf8(std::string_view text, size_t limit = std::string_view::npos);

}  // namespace finetune
