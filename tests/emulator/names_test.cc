#include "tests/emulator/names.h"

#include <gtest/gtest.h>

namespace finetune::emulator {
namespace {

TEST(Names, AreMangledAsTheRulesSay) {
  EXPECT_EQ(MangledName("", "My cat-7f3"), "My cat-7f3");
  EXPECT_EQ(MangledName("upper", "My cat-7f3"), "MY CAT-7F3");
  EXPECT_EQ(MangledName("lower", "My Cat"), "my cat");
  EXPECT_EQ(MangledName("title", "my CAT-7f3x"), "My Cat-7f3x");
  EXPECT_EQ(MangledName("cut:5", "my cat"), "my ca");
  EXPECT_EQ(MangledName("underscore", "a-b-c"), "a_b_c");
  EXPECT_EQ(MangledName("space", "a-b"), "a b");
  EXPECT_EQ(MangledName("plain", "a-b c_7"), "abc7");
  EXPECT_EQ(MangledName("prefix:x/,suffix:-v1", "cat"), "x/cat-v1");
}

TEST(Names, AreMangledByOneRuleAfterTheOther) {
  EXPECT_EQ(MangledName("suffix:-v1,upper,cut:5", "cat"), "CAT-V");
  EXPECT_EQ(MangledName("cut:5,suffix:-v1", "my cat"), "my ca-v1");
}

TEST(Names, AreCutBetweenCharacters) {
  EXPECT_EQ(MangledName("cut:2", "a\xc3\xa4z"), "a");
  EXPECT_EQ(MangledName("cut:3", "a\xc3\xa4z"), "a\xc3\xa4");
}

TEST(Names, KnowWhichRulesThereAre) {
  EXPECT_FALSE(CheckMangling(""));
  EXPECT_FALSE(CheckMangling("upper,cut:20,suffix:-v1"));
  for (const char* bad : {"uper", "cut", "cut:x", "upper:1", "upper, lower"}) {
    EXPECT_TRUE(CheckMangling(bad)) << bad;
  }
}

}  // namespace
}  // namespace finetune::emulator
