#pragma once

#include "server/base/mutex.h"

namespace finetune {

// Something that happens once and can be waited for. (absl::Notification is not instrumented for
// ThreadSanitizer in Debian's build.) Thread-safe.
class Notification {
 public:
  void Notify() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    happened_ = true;
    changed_.NotifyAll();
  }
  void WaitForNotification() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    while (!happened_) changed_.Wait(mu_);
  }
  bool HasBeenNotified() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    return happened_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool happened_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace finetune
