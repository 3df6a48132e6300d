#pragma once

#include <cstddef>
#include <deque>

#include "absl/time/time.h"

namespace finetune {

// Counts the lookups of host names that were left to themselves because their streams had ended:
// each keeps a thread of libcurl's until the name server has answered or was given up, and nobody
// is told when that is. Not thread-safe.
class LeftLookups {
 public:
  void Add(absl::Time now) { left_.push_back(now); }

  // Whether there are so many that nobody's wish should begin another one.
  bool Full(absl::Time now) {
    while (!left_.empty() && now - left_.front() >= kLongest) left_.pop_front();
    return left_.size() >= kMost;
  }

 private:
  // What the resolver takes where no name server answers: two attempts of 5 s for the name, as it
  // is and in each of a pod's search domains.
  static constexpr absl::Duration kLongest = absl::Minutes(1);
  static constexpr size_t kMost = 64;

  std::deque<absl::Time> left_;  // When each was left.
};

}  // namespace finetune
