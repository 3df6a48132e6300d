#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "tests/emulator/http.h"
#include "tests/emulator/mutex.h"
#include "tests/emulator/settings.h"

namespace finetune::emulator {

// What the account may still do: its key, its credits, its calls in this minute. Thread-safe.
// Owned by main; `settings` must outlive it.
class Account {
 public:
  explicit Account(const LiveSettings* settings);

  // The refusal of this call, if it has no valid key or comes too soon.
  std::optional<Answer> Refuse(const Request& request);
  // False if the credits do not suffice; otherwise they are gone.
  bool Pay();
  double credits() const;
  void SetCredits(double credits);
  // Forgets the calls of this minute.
  void Reset();

 private:
  const LiveSettings* const settings_;
  mutable Mutex mu_;
  // Guarded by mu_.
  double credits_ ABSL_GUARDED_BY(mu_);
  int64_t calls_in_window_ ABSL_GUARDED_BY(mu_) = 0;
  std::chrono::system_clock::time_point window_end_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune::emulator
