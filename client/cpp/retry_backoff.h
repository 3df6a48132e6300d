#pragma once

#include <algorithm>
#include <optional>

#include "absl/random/random.h"
#include "absl/time/time.h"
#include "server/base/backoff.h"

namespace finetune::inline client {

struct BackoffOptions {
  absl::Duration initial = absl::Milliseconds(100);
  absl::Duration maximum = absl::Seconds(20);
};

// The waits between attempts: those of Backoff, or what the server asks for (RetryInfo), with
// random spread so that clients that lost one server do not return together. Not thread-safe.
class RetryBackoff {
 public:
  explicit RetryBackoff(BackoffOptions options) : backoff_(options.initial, options.maximum) {}

  // The wait before the next attempt; at least `asked`.
  absl::Duration Next(std::optional<absl::Duration> asked = std::nullopt) {
    const absl::Duration own = backoff_.Next();
    return asked ? std::max(own, *asked * absl::Uniform(random_, 1.0, 1.25)) : own;
  }

  // Call it after a success.
  void Reset() { backoff_.Reset(); }

 private:
  Backoff backoff_;
  absl::BitGen random_;
};

}  // namespace finetune::inline client
