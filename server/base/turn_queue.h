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

// Runs tasks that callers ask for, one after another on a thread of its own. Callers take turns:
// a caller that asks for much waits for itself. Thread-safe; the owner calls Stop before what the
// tasks use is gone.
//
// The thread has the priority of all others, on purpose: its tasks share locks with them (of pages,
// of the allocator, of the process's memory in the kernel), and on a machine without a core to spare
// one of a lower priority is torn from the processor with such a lock in its hand, for hundreds of
// milliseconds, while those that the priority was to favour wait for it.
class TurnQueue {
 public:
  using Task = absl::AnyInvocable<void() &&>;

  explicit TurnQueue(std::string name);
  ~TurnQueue() { Stop(); }

  // Runs `task` when it is the turn of `sharer`, which may be null and lives until then. A number
  // for Drop; 0, and it will not run, once Stop was called.
  uint64_t Post(const Sharer* sharer, Task task) ABSL_LOCKS_EXCLUDED(mu_);
  // True if it had not begun; it will not run.
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
  // The waiting sharers, in the order of their turns; each is in it once.
  std::deque<const Sharer*> turns_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<const Sharer*, Tasks> tasks_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<uint64_t, const Sharer*> sharers_ ABSL_GUARDED_BY(mu_);  // By number.

  Thread thread_;
};

}  // namespace finetune
