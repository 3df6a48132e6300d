#include "server/store/row_sum.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

int64_t SumOf(std::string_view table, std::string_view a, std::string_view b) {
  return RowSum(table).Add(a).Add(b).value();
}

// It stands in files that other versions wrote.
TEST(RowSum, StaysWhatItWas) {
  EXPECT_EQ(RowSum("fine_tunes").Add("id").Add(int64_t{7}).value(),
            RowSum("fine_tunes").Add("id").Add(int64_t{7}).value());
  EXPECT_EQ(RowSum("t").Add("id").Add(int64_t{7}).value(), 8813469823075360331);
}

TEST(RowSum, TellsTablesFieldsAndTheirBordersApart) {
  const int64_t sum = SumOf("t", "ab", "c");
  EXPECT_NE(SumOf("u", "ab", "c"), sum);
  EXPECT_NE(SumOf("t", "a", "bc"), sum);
  EXPECT_NE(SumOf("t", "c", "ab"), sum);
  EXPECT_NE(SumOf("t", "abc", ""), sum);
  EXPECT_NE(RowSum("t").Add("ab").value(), sum);
}

TEST(RowSum, NoticesEveryBitThatADiskTurns) {
  std::string bytes = "the bytes of a job";
  const int64_t sum = SumOf("t", "id", bytes);
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    bytes[i / 8] ^= static_cast<char>(1 << (i % 8));
    EXPECT_NE(SumOf("t", "id", bytes), sum) << i;
    bytes[i / 8] ^= static_cast<char>(1 << (i % 8));
  }
  EXPECT_EQ(SumOf("t", "id", bytes), sum);
}

TEST(RowSum, NoticesASignAndAHighBit) {
  EXPECT_NE(RowSum("t").Add(int64_t{1}).value(), RowSum("t").Add(int64_t{-1}).value());
  EXPECT_NE(RowSum("t").Add(int64_t{0}).value(), RowSum("t").Add(INT64_MIN).value());
}

}  // namespace
}  // namespace finetune
