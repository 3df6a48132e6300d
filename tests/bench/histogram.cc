#include "tests/bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace finetune::bench {

int Histogram::Bucket(int64_t value) {
  const auto v = static_cast<uint64_t>(std::max<int64_t>(value, 0));
  if (v < kSteps) return static_cast<int>(v);
  const int power = std::bit_width(v) - 1;
  return (power - 4) * kSteps + static_cast<int>((v >> (power - 5)) & (kSteps - 1));
}

int64_t Histogram::Value(int bucket) {
  if (bucket < kSteps) return bucket;
  const int power = bucket / kSteps + 4;
  return (int64_t{kSteps} + bucket % kSteps) << (power - 5);
}

void Histogram::Add(int64_t nanoseconds) {
  ++buckets_[Bucket(nanoseconds)];
  ++count_;
}

void Histogram::Merge(const Histogram& other) {
  for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
}

double Histogram::Percentile(double percent) const {
  if (count_ == 0) return 0;
  auto left = static_cast<int64_t>(std::ceil(percent / 100 * static_cast<double>(count_)));
  for (size_t i = 0; i < buckets_.size(); ++i) {
    left -= buckets_[i];
    if (left <= 0) return static_cast<double>(Value(static_cast<int>(i))) / 1e6;
  }
  return 0;
}

}  // namespace finetune::bench
