#include "server/base/uuid.h"

#include <gtest/gtest.h>

#include <set>

namespace finetune {
namespace {

TEST(Uuid, IsOfVersionFourInLowerCase) {
  for (int i = 0; i < 1000; ++i) {
    const std::string uuid = MakeUuid();
    ASSERT_TRUE(IsUuid(uuid)) << uuid;
    EXPECT_EQ(uuid[14], '4');
    EXPECT_NE(std::string("89ab").find(uuid[19]), std::string::npos) << uuid;
    for (char c : uuid) EXPECT_FALSE(c >= 'A' && c <= 'Z');
  }
}

TEST(Uuid, IsAnotherEachTime) {
  std::set<std::string> seen;
  for (int i = 0; i < 10'000; ++i) EXPECT_TRUE(seen.insert(MakeUuid()).second);
}

TEST(Uuid, IsToldFromWhatIsNone) {
  EXPECT_TRUE(IsUuid("01234567-89ab-cdef-0123-456789ABCDEF"));
  for (const char* text :
       {"", "x", "01234567-89ab-cdef-0123-456789abcde", "01234567-89ab-cdef-0123-456789abcdef0",
        "01234567089ab-cdef-0123-456789abcdef", "g1234567-89ab-cdef-0123-456789abcdef",
        "0123456--89ab-cdef-0123-456789abcdef"})
    EXPECT_FALSE(IsUuid(text)) << text;
}

}  // namespace
}  // namespace finetune
