#pragma once

#include <memory>

#include "server/base/mutex.h"

namespace finetune {

// How a thread of the hub waits for work. Code that serves streams can make the thread look after
// them meanwhile, so that one thread writes to a stream and hears how its writes ended. Shared with
// the hub.
class WatchWaiter {
 public:
  virtual ~WatchWaiter() = default;
  // Returns once Wake was called after the last return. The hub's thread only.
  virtual void Wait() = 0;
  // Any thread; never waits.
  virtual void Wake() = 0;
};

// Waits and does nothing else. Thread-safe.
class IdleWaiter : public WatchWaiter {
 public:
  void Wait() override ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    while (!woken_) wake_.Wait(mu_);
    woken_ = false;
  }
  void Wake() override ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    woken_ = true;
    wake_.NotifyAll();
  }

 private:
  Mutex mu_;
  CondVar wake_;
  bool woken_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace finetune
