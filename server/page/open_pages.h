#pragma once

#include <cstddef>
#include <memory>

#include "absl/container/flat_hash_map.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/page/page_stream.h"

namespace finetune {

// The pages that are open now, up to a limit, and the timer that makes each of them look at the
// gateway's status every second. Nothing runs while no page is open. Thread-safe. Shared by the
// door and its streams.
class OpenPages : public std::enable_shared_from_this<OpenPages> {
 public:
  // `clock` outlives it.
  OpenPages(Clock& clock, size_t most) : clock_(clock), most_(most) {}

  // One more; null if there are as many as may be.
  std::shared_ptr<PageStream> Open(const PageSource& source, WatchSpec spec)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Idempotent.
  void Leave(PageStream* stream) ABSL_LOCKS_EXCLUDED(mu_);

  size_t count() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void SetTimerLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void OnTimer() ABSL_LOCKS_EXCLUDED(mu_);

  Clock& clock_;
  const size_t most_;

  mutable Mutex mu_;
  absl::flat_hash_map<PageStream*, std::weak_ptr<PageStream>> streams_ ABSL_GUARDED_BY(mu_);
  bool timed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace finetune
