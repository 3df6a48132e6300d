#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "server/base/mutex.h"
#include "server/web/web_stream.h"

namespace finetune {

// What the streams on one thread's connections have to tell that thread. Thread-safe. Shared by the
// thread and the outlets of its streams.
class WakeList : public std::enable_shared_from_this<WakeList> {
 public:
  struct Call {
    int socket = -1;
    uint64_t connection = 0;  // Numbers of sockets are reused, those of connections are not.
    bool cut = false;
  };

  WakeList();
  ~WakeList();

  // A descriptor, readable while there is a call to take; -1 if the system had none left.
  int fd() const { return fd_; }

  // The outlet of a connection.
  std::shared_ptr<WebOutlet> OutletOf(int socket, uint64_t connection);
  std::vector<Call> Take() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  class Outlet;

  void Add(Call call) ABSL_LOCKS_EXCLUDED(mu_);

  const int fd_;
  Mutex mu_;
  std::vector<Call> calls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
