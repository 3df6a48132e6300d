#pragma once

#include <cstdint>
#include <functional>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"
#include "server/base/worker.h"

namespace finetune {

// Gives memory back to the system that the allocator keeps after a wave of calls: while the process
// is larger than it was at its smallest, every ten seconds at first, and up to a minute apart if
// that brings nothing. On a thread of its own ("memory"), because it takes milliseconds.
// Thread-safe.
class IdleMemory {
 public:
  // What it looks at and does; a seam for tests.
  struct Process {
    std::function<int64_t()> resident_bytes;
    std::function<void()> trim;
  };

  IdleMemory(Clock& clock, Metrics& metrics);
  IdleMemory(Clock& clock, Metrics& metrics, Process process);
  ~IdleMemory();

  // Begins to look.
  void Start() ABSL_LOCKS_EXCLUDED(mu_);
  // Looks now, and says when to look again. Memory's thread, and tests.
  absl::Duration Look();

 private:
  void Schedule(absl::Duration after) ABSL_LOCKS_EXCLUDED(mu_);

  Clock& clock_;
  const Process process_;
  prometheus::Counter& returned_;

  // Memory's thread only.
  int64_t least_ = INT64_MAX;  // After a trim, or without one.
  absl::Duration interval_;

  Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = Clock::kNoTimer;

  Worker worker_{"memory"};
};

}  // namespace finetune
