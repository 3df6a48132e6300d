#include "server/base/utf8.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace finetune {
namespace {

// How many bytes of ASCII `text` begins with. Nearly all texts consist of ASCII.
size_t PlainPrefix(std::string_view text) {
  constexpr uint64_t kHighBits = 0x8080808080808080;
  size_t i = 0;
  for (; i + sizeof(uint64_t) <= text.size(); i += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + i, sizeof(word));
    if ((word & kHighBits) != 0) break;
  }
  while (i < text.size() && static_cast<unsigned char>(text[i]) < 0x80) ++i;
  return i;
}

}  // namespace

std::string ValidUtf8(std::string_view text, size_t limit) {
  const size_t plain = PlainPrefix(text);
  if (plain >= limit || plain == text.size()) return std::string(text.substr(0, limit));
  std::string valid;
  valid.reserve(std::min(text.size(), limit));
  valid.assign(text.substr(0, plain));
  size_t i = plain;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    size_t length = lead < 0x80       ? 1
                    : lead >> 5 == 6  ? 2
                    : lead >> 4 == 14 ? 3
                    : lead >> 3 == 30 ? 4
                                      : 0;
    uint32_t code = length == 1 ? lead : length == 0 ? 0 : lead & (0xff >> (length + 1));
    for (size_t k = 1; length > 1 && k < length; ++k) {
      const unsigned char next = i + k < text.size() ? text[i + k] : 0;
      if (next >> 6 != 2) length = 0;
      code = code << 6 | (next & 0x3f);
    }
    constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool good = length != 0 && code >= kLeast[length] && code <= 0x10ffff &&
                      (code < 0xd800 || code > 0xdfff);
    const std::string_view piece = good ? text.substr(i, length) : std::string_view("\xef\xbf\xbd");
    if (piece.size() > limit - valid.size()) break;
    valid.append(piece);
    i += good ? length : 1;
  }
  return valid;
}

}  // namespace finetune
