#include "server/jobs/filter/fold_case.h"

#include <cstdint>

namespace finetune {
namespace {

// The small letter of a letter that UTF-8 writes in two bytes. The small letter has two bytes as
// well.
uint32_t Small(uint32_t letter) {
  const auto between = [&](uint32_t first, uint32_t last) {
    return letter >= first && letter <= last;
  };
  if (between(0xC0, 0xDE) && letter != 0xD7) return letter + 0x20;     // Latin-1.
  if (between(0x391, 0x3A9) && letter != 0x3A2) return letter + 0x20;  // Greek.
  if (letter == 0x3C2) return 0x3C3;                                   // The final sigma.
  if (between(0x410, 0x42F)) return letter + 0x20;                     // Cyrillic.
  if (between(0x400, 0x40F)) return letter + 0x50;
  // Latin Extended-A alternates capital and small letters; I with a dot and Y with two are
  // exceptions, whose small letters lie in other blocks.
  if (between(0x100, 0x12F) || between(0x132, 0x137) || between(0x14A, 0x177)) return letter | 1;
  if (between(0x139, 0x148) || between(0x179, 0x17E)) return letter + (letter & 1);
  return letter;
}

}  // namespace

void FoldCaseTo(std::string_view text, std::string& folded) {
  folded.assign(text);
  for (size_t i = 0; i < folded.size(); ++i) {
    const auto byte = static_cast<unsigned char>(folded[i]);
    if (byte >= 'A' && byte <= 'Z') {
      folded[i] = static_cast<char>(byte + ('a' - 'A'));
    } else if (byte >= 0xC3 && byte <= 0xD1 && i + 1 < folded.size()) {
      const auto next = static_cast<unsigned char>(folded[i + 1]);
      if ((next & 0xC0) != 0x80) continue;
      const uint32_t small = Small(static_cast<uint32_t>(byte & 0x1F) << 6 | (next & 0x3F));
      folded[i] = static_cast<char>(0xC0 | small >> 6);
      folded[++i] = static_cast<char>(0x80 | (small & 0x3F));
    }
  }
}

}  // namespace finetune
