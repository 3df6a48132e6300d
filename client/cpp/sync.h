// std::mutex with clang's thread-safety annotations, for the client's own use. (Debian's
// absl::Mutex is not instrumented for ThreadSanitizer.)
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"

namespace finetune::inline client {

class ABSL_LOCKABLE ClientMutex {
 public:
  void lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mu_.lock(); }
  void unlock() ABSL_UNLOCK_FUNCTION() { mu_.unlock(); }

 private:
  std::mutex mu_;
};

class ABSL_SCOPED_LOCKABLE ClientLock {
 public:
  explicit ClientLock(ClientMutex& mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) { mu_.lock(); }
  ~ClientLock() ABSL_UNLOCK_FUNCTION() { mu_.unlock(); }
  ClientLock(const ClientLock&) = delete;
  ClientLock& operator=(const ClientLock&) = delete;

 private:
  ClientMutex& mu_;
};

class ClientCondition {
 public:
  void Wait(ClientMutex& mu) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) { cv_.wait(mu); }
  // Waits at most this long. May wake without cause.
  void WaitFor(ClientMutex& mu, std::chrono::nanoseconds time) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    cv_.wait_for(mu, time);
  }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable_any cv_;
};

}  // namespace finetune::inline client
