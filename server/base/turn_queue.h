#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "server/base/fair_share.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"

namespace finetune {

// Runs tasks that callers ask for, one after another on a thread of its own. Callers take turns, so
// that a caller that asks for much waits only for itself. Thread-safe; the owner calls Stop before
// what the tasks use is gone.
//
// The thread deliberately has the same priority as all others. Its tasks share locks with them (of
// pages, of the allocator, of the process's memory in the kernel), and on a machine without a core
// to spare a thread of lower priority would be preempted while it holds such a lock, for hundreds
// of milliseconds, while the threads that the priority was meant to favour wait for it.
class TurnQueue {
 public:
  using Task = absl::AnyInvocable<void() &&>;

  explicit TurnQueue(std::string name);
  ~TurnQueue() { Stop(); }

  // Runs `task` when it is the turn of `sharer`, which may be null and must live until then.
  // Returns a number for Drop, or 0 if Stop was called and the task will not run.
  uint64_t Post(const Sharer* sharer, Task task) ABSL_LOCKS_EXCLUDED(mu_);
  // True if the task had not begun; it will then not run.
  bool Drop(uint64_t number) ABSL_LOCKS_EXCLUDED(mu_);

  // Runs what is queued, then ends the thread. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using Tasks = std::deque<std::pair<uint64_t, Task>>;

  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  // The first task of the sharer whose turn it is.
  Task TakeNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t last_ ABSL_GUARDED_BY(mu_) = 0;
  // The sharers that wait, each once, in the order of their turns.
  std::deque<const Sharer*> turns_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<const Sharer*, Tasks> tasks_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<uint64_t, const Sharer*> sharers_ ABSL_GUARDED_BY(mu_);  // By number.

  Thread thread_;
};

}  // namespace finetune
