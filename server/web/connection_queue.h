#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "absl/container/flat_hash_map.h"
#include "server/base/mutex.h"

namespace finetune {

// The connections of a door, the one first that has gone for the longest without an answer. Where
// there are more than `most`, that one is cut off: whoever holds connections and says nothing, or
// says it a byte at a time, loses them, and who comes with a whole request gets in. Thread-safe.
class ConnectionQueue {
 public:
  explicit ConnectionQueue(size_t most) : most_(most) {}

  // A connection was taken in.
  void Begin(int socket) ABSL_LOCKS_EXCLUDED(mu_);
  // A request on it was answered.
  void Answered(int socket) ABSL_LOCKS_EXCLUDED(mu_);
  // Before the socket is closed.
  void End(int socket) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void AppendLocked(int socket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RemoveLocked(int socket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const size_t most_;

  Mutex mu_;
  uint64_t last_turn_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, int> sockets_ ABSL_GUARDED_BY(mu_);  // By their turn.
  absl::flat_hash_map<int, uint64_t> turns_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
