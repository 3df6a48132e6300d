#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <thread>

#include "tests/emulator/mutex.h"

namespace finetune::emulator {

// Runs functions at their time, one after the other, on its own thread; they must not block.
// Thread-safe. Stop() runs all that is still pending at once, so nothing is left hanging.
class Timer {
 public:
  Timer();
  ~Timer() { Stop(); }

  void After(std::chrono::nanoseconds delay, std::function<void()> run);
  // From then on After() runs its function at once, on its caller.
  void Stop();

 private:
  void Run();

  Mutex mu_;
  std::condition_variable_any changed_;
  // Guarded by mu_.
  std::multimap<std::chrono::steady_clock::time_point, std::function<void()>> due_
      ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  // The owner's thread only.
  std::thread thread_;
};

}  // namespace finetune::emulator
