#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace finetune {

// The sockets that accept connections on every address of a host, all on one port. Closed when this
// is destroyed. Constant after Open.
class Listeners {
 public:
  // `host` is a name or an address, IPv6 perhaps in brackets; port 0 means any. A name such as
  // `localhost` may have several addresses of both families; like gRPC, this listens on each of
  // them that the machine has. UNAVAILABLE, saying why, if one is in use or none is left.
  static absl::StatusOr<Listeners> Open(const std::string& host, int port);

  Listeners(Listeners&& other) noexcept
      : sockets_(std::exchange(other.sockets_, {})), port_(other.port_) {}
  Listeners& operator=(Listeners&&) = delete;
  ~Listeners();

  // They do not block.
  const std::vector<int>& sockets() const { return sockets_; }
  int port() const { return port_; }

 private:
  Listeners() = default;

  std::vector<int> sockets_;
  int port_ = 0;
};

}  // namespace finetune
