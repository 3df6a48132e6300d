#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "absl/time/time.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"

namespace finetune {

// Writes lines to a descriptor on a thread of its own ("log"), so that nobody waits for a slow
// reader. The queue is bounded: when it is full the oldest lines are dropped, and a line says how
// many. Takes no more memory than what is queued. Thread-safe.
class LineWriter {
 public:
  // Makes the line that says how many were dropped; on the writer's thread.
  using TellDropped = std::function<std::string(uint64_t lines)>;

  // The descriptor stays the caller's, and open. Lines that cannot be written are lost.
  LineWriter(int fd, size_t most_bytes, TellDropped tell_dropped);
  // Writes what is queued.
  ~LineWriter();

  // `line` comes without its line break.
  void Append(std::string line) ABSL_LOCKS_EXCLUDED(mu_);
  // Waits, at most that long, until everything appended before is written or dropped.
  void Flush(absl::Duration at_most) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  // Waits for lines and takes some; empty once the writer ends. `dropped`: how many were lost
  // before these.
  std::string Take(uint64_t& dropped) ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  const int fd_;
  const size_t most_bytes_;
  const TellDropped tell_dropped_;

  Mutex mu_;
  CondVar appended_something_;
  CondVar finished_something_;
  std::deque<std::string> lines_ ABSL_GUARDED_BY(mu_);
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;  // Of lines_.
  uint64_t appended_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t taken_ ABSL_GUARDED_BY(mu_) = 0;     // To be written, or dropped.
  uint64_t finished_ ABSL_GUARDED_BY(mu_) = 0;  // Written, or dropped.
  uint64_t dropped_ ABSL_GUARDED_BY(mu_) = 0;   // And not told yet.
  bool ending_ ABSL_GUARDED_BY(mu_) = false;

  Thread thread_;  // Last: it uses all of the above.
};

}  // namespace finetune
