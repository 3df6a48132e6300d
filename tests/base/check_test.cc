#include "server/base/check.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

TEST(CheckDeathTest, EndsTheProcessWithThePlaceAndTheCondition) {
  const int two = 2;
  EXPECT_DEATH(CHECK(two + two == 5), "check_test\\.cc:[0-9]+: CHECK failed: two \\+ two == 5");
}

TEST(Check, LooksAtItsConditionOnce) {
  int looks = 0;
  CHECK(++looks > 0);
  EXPECT_EQ(looks, 1);
}

}  // namespace
}  // namespace finetune
