#pragma once

#include <vector>

#include "absl/functional/any_invocable.h"
#include "server/base/mutex.h"

namespace finetune {

// Tells code that works for a caller that nobody waits for its result any longer. Shared by both
// sides; lives as long as either. Thread-safe.
class Cancellation {
 public:
  // Runs all actions, on this thread and with no lock held. Only the first call does.
  void Cancel() ABSL_LOCKS_EXCLUDED(mu_);
  bool cancelled() const ABSL_LOCKS_EXCLUDED(mu_);

  // Runs `action` once it is cancelled, or at once if it is already. The action must own what it
  // needs, or hold it weakly: it is not withdrawn when the work is done.
  void OnCancelDo(absl::AnyInvocable<void() &&> action) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  mutable std::vector<absl::AnyInvocable<void() &&>> actions_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
