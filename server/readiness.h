#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/jobs/record/catalog.h"

namespace finetune {

// Whether reads are worth serving: there must be something in the record, however old, or a good
// read of Segmind. Follows that until it is so. Thread-safe; all that it is given outlives it.
class Readiness {
 public:
  struct Parts {
    const Catalog& catalog;  // Loaded.
    Clock& clock;
    absl::Time started;  // When the process began; steady.
    // How Segmind answers, in a word.
    std::function<std::string()> upstream_state;
    // Whether the keys of all issuers are there; null if there are none to wait for.
    std::function<bool()> has_all_keys;
  };

  explicit Readiness(Parts parts);
  ~Readiness() { Stop(); }

  // OK, or why not.
  absl::Status status() const;
  // From now on it is not.
  void Drain() { draining_ = true; }

  // Calls `ready` once it is so: within this, or later on the clock's thread. Once.
  void Follow(std::function<void()> ready) ABSL_LOCKS_EXCLUDED(mu_);
  // `ready` is not called any more, nor being called. Idempotent.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Look() ABSL_LOCKS_EXCLUDED(mu_);

  const Parts parts_;
  const bool had_jobs_;
  std::atomic<bool> draining_ = false;

  Mutex mu_;
  std::function<void()> ready_ ABSL_GUARDED_BY(mu_);
  bool following_ ABSL_GUARDED_BY(mu_) = true;
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = Clock::kNoTimer;
};

}  // namespace finetune
