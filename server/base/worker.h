#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <string>

#include "absl/functional/any_invocable.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"

namespace finetune {

// A thread that runs posted tasks one after another, in order. Post and RunOrPost are thread-safe;
// Post never blocks. The owner calls Stop before what the tasks use goes away; it runs the tasks
// that are still queued.
class Worker {
 public:
  using Task = absl::AnyInvocable<void() &&>;

  explicit Worker(std::string name);
  ~Worker();

  // False, and the task is dropped, once Stop was called.
  bool Post(Task task) ABSL_LOCKS_EXCLUDED(mu_);
  // The same, but runs the task at once, on this thread, if no other runs or waits: for short
  // tasks, so that nobody waits for a switch to another thread.
  bool RunOrPost(Task task) ABSL_LOCKS_EXCLUDED(mu_);
  // Runs what is queued, then ends the thread. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);
  bool IsCurrent() const { return thread_.IsCurrent(); }

  // Blocks until no worker of this process has a task queued or running. From then on only a timer
  // or the outside can make something happen. For tests that turn the clock by hand.
  static void AwaitIdleProcess();

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  static void Finished(int64_t tasks);

  static std::atomic<int64_t> unfinished_;  // Tasks of all workers.

  Mutex mu_;
  CondVar changed_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mu_);
  bool running_ ABSL_GUARDED_BY(mu_) = false;  // Whether a task runs, on whatever thread.
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  Thread thread_;
};

}  // namespace finetune
