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
// read of Segmind. Follows that until it is so. Thread-safe; Follow and Stop are for the owner, one
// after the other. What it is given outlives it.
class Readiness {
 public:
  struct Parts {
    const Catalog& catalog;  // Loaded.
    Clock& clock;
    absl::Time started;  // When the process began; steady.
    // How Segmind answers, in a word. Called with no lock held.
    std::function<std::string()> upstream_state;
    // Whether the keys of all issuers are there; null if there are none to wait for. Likewise.
    std::function<bool()> has_all_keys;
  };

  explicit Readiness(Parts parts);
  ~Readiness() { Stop(); }

  // OK, or why reads are not worth serving.
  absl::Status status() const;
  // From now on they are not.
  void Drain() { draining_ = true; }

  // Calls `ready` once, with no lock held, as soon as status() is OK: within this call, or later on
  // the clock's thread. Call Follow once.
  void Follow(std::function<void()> ready) ABSL_LOCKS_EXCLUDED(mu_);
  // Afterwards `ready` is not running and will not run. `ready` itself may call it. Idempotent.
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
