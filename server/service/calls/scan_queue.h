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

// Runs what looks at many jobs, one after another on a thread of its own, so that nothing else waits
// for it. Callers take turns: whoever asks for much waits for itself. Thread-safe; the owner calls
// Stop before what the scans use goes.
class ScanQueue {
 public:
  using Scan = absl::AnyInvocable<void() &&>;

  explicit ScanQueue(std::string name);
  ~ScanQueue() { Stop(); }

  // Runs `scan` when it is the turn of `sharer`, which may be null and lives until then. A number
  // for Drop; 0, and it will not run, once Stop was called.
  uint64_t Post(const Sharer* sharer, Scan scan) ABSL_LOCKS_EXCLUDED(mu_);
  // True if it had not begun; it will not run.
  bool Drop(uint64_t number) ABSL_LOCKS_EXCLUDED(mu_);

  // Runs what is queued, then ends the thread. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using Scans = std::deque<std::pair<uint64_t, Scan>>;

  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  // The first scan of the sharer whose turn it is.
  Scan TakeNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t last_ ABSL_GUARDED_BY(mu_) = 0;
  // Those who wait, in the order of their turns; each is there once.
  std::deque<const Sharer*> turns_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<const Sharer*, Scans> scans_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<uint64_t, const Sharer*> sharers_ ABSL_GUARDED_BY(mu_);  // By number.

  Thread thread_;
};

}  // namespace finetune
