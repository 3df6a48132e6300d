#pragma once

#include <algorithm>
#include <optional>

#include "absl/random/random.h"
#include "absl/time/time.h"

namespace finetune::inline client {

struct BackoffOptions {
  absl::Duration initial = absl::Milliseconds(100);
  absl::Duration maximum = absl::Seconds(20);
  double multiplier = 2.0;
};

// The waits between attempts: exponential, spread by up to a quarter either way so that clients
// that lost one server do not return together. Not thread-safe.
class RetryBackoff {
 public:
  explicit RetryBackoff(BackoffOptions options) : options_(options), next_(options.initial) {}

  // The wait before the next attempt; at least `asked`, which is what the server wants (RetryInfo).
  absl::Duration Next(std::optional<absl::Duration> asked = std::nullopt) {
    const absl::Duration own = next_ * absl::Uniform(random_, 0.75, 1.25);
    next_ = std::min(options_.maximum, next_ * options_.multiplier);
    if (!asked) return own;
    return std::max(own, *asked * absl::Uniform(random_, 1.0, 1.25));
  }

  // After a success.
  void Reset() { next_ = options_.initial; }

 private:
  const BackoffOptions options_;
  absl::Duration next_;
  absl::BitGen random_;
};

}  // namespace finetune::inline client
