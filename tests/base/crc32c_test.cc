#include "server/base/crc32c.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace finetune {
namespace {

// RFC 3720, B.4, and the check value of every catalogue of CRCs.
TEST(Crc32c, IsTheCastagnolis) {
  std::string rising;
  for (int i = 0; i < 32; ++i) rising += static_cast<char>(i);
  for (const auto& [text, crc] : std::initializer_list<std::pair<std::string, uint32_t>>{
           {"", 0},
           {"123456789", 0xe3069283},
           {std::string(32, '\0'), 0x8a9136aa},
           {std::string(32, '\xff'), 0x62a8ab43},
           {rising, 0x46dd794e}}) {
    EXPECT_EQ(Crc32c(text), crc);
    EXPECT_EQ(ExtendCrc32cPlainly(0, text), crc);
  }
}

TEST(Crc32c, IsTheSameInPiecesAndWithoutInstructions) {
  std::mt19937 random(7);
  std::string bytes(100'000, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  const std::string_view all = bytes;
  for (int i = 0; i < 200; ++i) {
    const size_t size = i < 100 ? static_cast<size_t>(i) : random() % all.size();
    const std::string_view text = all.substr(random() % (all.size() - size), size);
    const size_t cut = size == 0 ? 0 : random() % size;
    const uint32_t crc = Crc32c(text);
    EXPECT_EQ(ExtendCrc32cPlainly(0, text), crc) << size;
    EXPECT_EQ(ExtendCrc32c(Crc32c(text.substr(0, cut)), text.substr(cut)), crc) << size;
  }
}

}  // namespace
}  // namespace finetune
