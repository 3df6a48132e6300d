#include "server/base/utf8.h"

#include <gtest/gtest.h>

#include <string>

namespace finetune {
namespace {

TEST(ValidUtf8, KeepsWhatIsValid) {
  const std::string text = "plain, \xc3\xa9, \xe2\x82\xac, \xf0\x9f\x98\x80";
  EXPECT_EQ(ValidUtf8(text), text);
  EXPECT_EQ(ValidUtf8(""), "");
}

TEST(ValidUtf8, ReplacesWhatIsNot) {
  const std::string sign = "\xef\xbf\xbd";
  EXPECT_EQ(ValidUtf8("a\xff"
                      "b"),
            "a" + sign + "b");
  EXPECT_EQ(ValidUtf8("\xc0\xaf"), sign + sign);                        // Overlong.
  EXPECT_EQ(ValidUtf8("\xed\xa0\x80"), sign + sign + sign);             // A surrogate.
  EXPECT_EQ(ValidUtf8("\xf4\x90\x80\x80"), sign + sign + sign + sign);  // Beyond the last.
  EXPECT_EQ(ValidUtf8("end\xe2\x82"), "end" + sign + sign);             // Cut short.
}

TEST(ValidUtf8, SeesWhatIsNotPlainAtAnyPlace) {
  for (size_t size = 1; size < 40; ++size) {
    for (size_t at = 0; at < size; ++at) {
      std::string text(size, 'x');
      text[at] = '\xff';
      const std::string want =
          std::string(at, 'x') + "\xef\xbf\xbd" + std::string(size - at - 1, 'x');
      ASSERT_EQ(ValidUtf8(text), want);
      ASSERT_EQ(ValidUtf8(text, at), std::string(at, 'x'));
      ASSERT_EQ(ValidUtf8(text, at + 2), std::string(at, 'x'));
    }
  }
}

TEST(ValidUtf8, CutsAtACharacter) {
  EXPECT_EQ(ValidUtf8("abcdef", 3), "abc");
  EXPECT_EQ(ValidUtf8("ab\xe2\x82\xac", 4), "ab");
  EXPECT_EQ(ValidUtf8("ab\xe2\x82\xac", 5), "ab\xe2\x82\xac");
  EXPECT_EQ(ValidUtf8("\xff", 2), "");
  EXPECT_EQ(ValidUtf8("abc", 0), "");
}

}  // namespace
}  // namespace finetune
