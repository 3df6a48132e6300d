#pragma once

#include <algorithm>

#include "absl/random/random.h"
#include "absl/time/time.h"

namespace finetune {

// Delays between tries: doubling from `first` to `most`, each drawn between half and the whole of
// its step, so that clients that failed together do not come back together. Not thread-safe.
class Backoff {
 public:
  Backoff(absl::Duration first, absl::Duration most) : first_(first), most_(most), step_(first) {}

  absl::Duration Next() {
    const absl::Duration delay = step_ * absl::Uniform(absl::IntervalClosed, random_, 0.5, 1.0);
    step_ = std::min(step_ * 2, most_);
    return delay;
  }
  void Reset() { step_ = first_; }

 private:
  const absl::Duration first_;
  const absl::Duration most_;
  absl::Duration step_;
  absl::BitGen random_;
};

}  // namespace finetune
