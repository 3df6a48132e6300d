#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <string_view>

namespace finetune {

// A checksum over the fields of a row, in order, which shows whether the disk changed what was
// written. It does not protect against a deliberate change. Not thread-safe.
//
//   RowSum("fine_tunes").Add(id).Add(record).value()
class RowSum {
 public:
  // Equal rows of different tables have different sums.
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
