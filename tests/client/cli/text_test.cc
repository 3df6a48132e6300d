#include "client/cli/text.h"

#include <gtest/gtest.h>

namespace finetune::cli {
namespace {

class Text : public testing::Test {
 protected:
  ~Text() override { SetTextStyle({}); }
};

TEST_F(Text, ForeignTextCannotMoveTheCursorOrHideAnything) {
  EXPECT_EQ(Printable("a\033[31mb\nc\xc2\x9b"), "a\\u001b[31mb c\\u009b");
  EXPECT_EQ(Printable("cat\xe2\x80\xaegpj.exe"), "cat\\u202egpj.exe");
  EXPECT_EQ(Printable("a\xe2\x80\x8b"
                      "b\xe2\x80\xa8"
                      "c\xef\xbb\xbf"),
            "a\\u200bb\\u2028c\\ufeff");
  EXPECT_EQ(Printable("\xf3\xa0\x81\x81"), "\\U000e0041");
  EXPECT_EQ(Printable("a\xff"
                      "b\xe2\x82"),
            "a\\xffb\\xe2\\x82");
  EXPECT_EQ(Printable(std::string_view("\0x\x7f", 3)), "\\u0000x\\u007f");
  EXPECT_EQ(Printable("größer, 猫, 🐈"), "größer, 猫, 🐈");
}

TEST_F(Text, WithoutUtf8NothingButAsciiIsWritten) {
  SetTextStyle({.utf8 = false});
  EXPECT_EQ(Printable("größer 🐈"), "gr\\u00f6\\u00dfer \\U0001f408");
  EXPECT_EQ(Shorten("abcdefgh", 6), "abc...");
  EXPECT_EQ(Shorten("abcdefgh", 2), "..");
}

TEST_F(Text, WidthIsThatOfTheTerminal) {
  EXPECT_EQ(Width("größer"), 6u);
  EXPECT_EQ(Width("猫犬"), 4u);
  EXPECT_EQ(Width("e\xcc\x81"), 1u);
  EXPECT_EQ(Shorten("größer", 4), "grö…");
  EXPECT_EQ(Shorten("größer", 6), "größer");
  EXPECT_EQ(Shorten("猫犬鳥", 4), "猫…");
  EXPECT_EQ(Shorten("abc", 1), "…");
}

TEST_F(Text, DurationsAreShort) {
  EXPECT_EQ(ShortDuration(absl::Seconds(187)), "3m07s");
  EXPECT_EQ(RoughDuration(absl::Hours(25)), "25h");
  EXPECT_EQ(RoughDuration(absl::Hours(80)), "3d");
  EXPECT_EQ(RoughDuration(-absl::Seconds(5)), "0s");
}

TEST_F(Text, TimesSayTheirZone) {
  google::protobuf::Timestamp time;
  EXPECT_EQ(Moment(time), "-");
  time.set_seconds(1'000'000'000);
  SetTextStyle({.zone = absl::UTCTimeZone()});
  EXPECT_EQ(Moment(time), "2001-09-09 01:46:40 UTC");
  EXPECT_EQ(ZoneName(), "UTC");
}

}  // namespace
}  // namespace finetune::cli
