#include "server/jobs/watching/watch_context.h"

#include <utility>

#include "absl/random/random.h"
#include "server/base/error.h"

namespace finetune {
namespace {

absl::Duration Between(absl::Duration least, absl::Duration most) {
  thread_local absl::BitGen random;
  return absl::Milliseconds(absl::Uniform(absl::IntervalClosed, random,
                                          absl::ToInt64Milliseconds(least),
                                          absl::ToInt64Milliseconds(most)));
}

}  // namespace

absl::Status WatchContext::Admit() {
  MutexLock lock(mu_);
  if (closed_) return WatchEnds("this server is going away");
  ++count_;
  metrics.watchers().Set(static_cast<double>(count_));
  return absl::OkStatus();
}

void WatchContext::Leave() {
  absl::AnyInvocable<void() &&> empty;
  {
    MutexLock lock(mu_);
    --count_;
    metrics.watchers().Set(static_cast<double>(count_));
    if (count_ == 0) empty = std::exchange(empty_, nullptr);
  }
  if (empty) std::move(empty)();
}

void WatchContext::Close(absl::AnyInvocable<void() &&> empty) {
  {
    MutexLock lock(mu_);
    closed_ = true;
    if (count_ > 0) {
      if (empty) empty_ = std::move(empty);
      return;
    }
  }
  if (empty) std::move(empty)();
}

int64_t WatchContext::count() const {
  MutexLock lock(mu_);
  return count_;
}

absl::Status WatchIsOutdated() {
  return WatchEnds("this gateway had to load the record anew: resume the watch");
}

absl::Status WatchEnds(std::string_view why) {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::SERVER_DRAINING, why)
      .RetryAfter(Between(absl::Milliseconds(100), absl::Seconds(1)));
}

}  // namespace finetune
