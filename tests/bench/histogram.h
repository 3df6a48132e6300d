#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace finetune::bench {

// Counts of durations in buckets of at most 3 % width, from a nanosecond to minutes (as
// HdrHistogram does it). Not thread-safe: one a thread, then Merge.
class Histogram {
 public:
  void Add(int64_t nanoseconds);
  void Merge(const Histogram& other);
  int64_t count() const { return count_; }
  // In milliseconds; 0 if empty.
  double Percentile(double percent) const;

 private:
  static constexpr int kSteps = 32;  // A power of two is cut into so many.
  static int Bucket(int64_t value);
  static int64_t Value(int bucket);

  std::array<int64_t, 64 * kSteps> buckets_{};
  int64_t count_ = 0;
};

}  // namespace finetune::bench
