#include "server/base/micros.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace finetune {
namespace {

TEST(ShowMicros, ReadsAsPeopleWriteIt) {
  EXPECT_EQ(ShowMicros(0), "0");
  EXPECT_EQ(ShowMicros(12'000'000), "12");
  EXPECT_EQ(ShowMicros(12'500'000), "12.5");
  EXPECT_EQ(ShowMicros(1), "0.000001");
  EXPECT_EQ(ShowMicros(-1'500'000), "-1.5");
  EXPECT_EQ(ShowMicros(std::numeric_limits<int64_t>::min()), "-9223372036854.775808");
}

TEST(Micros, TakesOnlyAmountsThatMakeSense) {
  EXPECT_EQ(MicrosOf(0), 0);
  EXPECT_EQ(MicrosOf(12.5), 12'500'000);
  EXPECT_EQ(MicrosOf(0.1), 100'000);
  EXPECT_EQ(MicrosOf(1e12), 1'000'000'000'000'000'000);
  for (const double amount : {-0.5, 1.1e12, HUGE_VAL, std::nan("")})
    EXPECT_EQ(MicrosOf(amount), std::nullopt) << amount;
}

}  // namespace
}  // namespace finetune
