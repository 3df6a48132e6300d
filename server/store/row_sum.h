#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <string_view>

namespace finetune {

// A checksum over the fields of a row, in their order: what was written is what is read, or the
// disk changed it. No protection against those who mean to.
//
//   RowSum("fine_tunes").Add(id).Add(record).value()
class RowSum {
 public:
  // Equal rows of two tables have two sums.
  explicit RowSum(std::string_view table) { Add(table); }

  RowSum& Add(std::string_view bytes) {
    sum_ = XXH3_64bits_withSeed(bytes.data(), bytes.size(), sum_);
    return *this;
  }
  RowSum& Add(int64_t number) {
    return Add({reinterpret_cast<const char*>(&number), sizeof number});
  }

  int64_t value() const { return static_cast<int64_t>(sum_); }

 private:
  uint64_t sum_ = 0;
};

}  // namespace finetune
