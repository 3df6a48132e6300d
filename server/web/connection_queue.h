#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "absl/container/flat_hash_map.h"
#include "server/base/mutex.h"

namespace finetune {

// The connections of a door, ordered by how long they have gone without an answer. When there are
// more than `most`, the one that has gone the longest is cut off: a client that holds connections
// and sends nothing, or a byte at a time, loses them, and one with a whole request gets in.
// Thread-safe.
class ConnectionQueue {
 public:
  explicit ConnectionQueue(size_t most) : most_(most) {}

  // A connection was accepted.
  void Begin(int socket) ABSL_LOCKS_EXCLUDED(mu_);
  // A request on it was answered.
  void Answered(int socket) ABSL_LOCKS_EXCLUDED(mu_);
  // Call it before the socket is closed.
  void End(int socket) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void AppendLocked(int socket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RemoveLocked(int socket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const size_t most_;

  Mutex mu_;
  uint64_t last_turn_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, int> sockets_ ABSL_GUARDED_BY(mu_);  // By turn.
  absl::flat_hash_map<int, uint64_t> turns_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
