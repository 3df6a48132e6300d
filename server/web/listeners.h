#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace finetune {

// The sockets that take connections on every address of a host, all on one port. Closed with it.
class Listeners {
 public:
  // `host` is a name or an address, IPv6 perhaps in brackets; port 0 takes any. A name such as
  // `localhost` may have several addresses, of both families, and each of them is listened on, as
  // gRPC does; those that this machine does not have are left out. UNAVAILABLE, saying why, if one
  // is taken or none is left.
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
