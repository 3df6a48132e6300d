#pragma once

#include <mutex>

#include "absl/base/thread_annotations.h"

namespace finetune::emulator {

// A std::mutex that clang's thread-safety analysis can follow. The gateway has one of its own; the
// emulator shares no code with it.
class ABSL_LOCKABLE Mutex {
 public:
  // Lower case, so that std::condition_variable_any takes it.
  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mu_.lock(); }
  void unlock() ABSL_UNLOCK_FUNCTION() { mu_.unlock(); }

 private:
  std::mutex mu_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) { mu_->lock(); }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mu_->unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mu_;
};

}  // namespace finetune::emulator
