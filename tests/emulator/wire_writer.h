#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <thread>

#include "tests/emulator/mutex.h"
#include "tests/emulator/wire.h"

namespace finetune::emulator {

// Plays scripts, each on a thread of its own. Thread-safe. Owned by the HTTP server.
class WireWriter {
 public:
  ~WireWriter() { Stop(); }

  // Writes to a copy of `fd`, then calls `done`. After Stop() it calls `done` at once.
  void Play(int fd, std::shared_ptr<const WireScript> script, std::function<void()> done);
  // Ends all scripts.
  void Stop();

 private:
  struct Running {
    std::thread thread;
    std::atomic<bool> ended{false};
  };

  void Write(int fd, const WireScript& script) const;

  std::atomic<bool> stopping_{false};
  Mutex mu_;
  // Guarded by mu_.
  std::list<Running> running_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune::emulator
