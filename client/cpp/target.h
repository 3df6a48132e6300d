// Where the gateway is: its address as people write it, and the way there.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace finetune::inline client {

// INVALID_ARGUMENT for what is not an address, such as one with https:// in front.
absl::Status CheckTarget(const std::string& target);

struct HostAndPort {
  std::string host;
  std::string port;
};

// Host and port of a gRPC name; nullopt if it has none, as `unix:/path`.
std::optional<HostAndPort> HostAndPortOf(const std::string& target);

// Whether nothing that is sent there leaves this machine.
bool StaysOnThisMachine(const std::string& target);

struct Proxy {
  // The environment variable that names it.
  std::string variable;
  // Its URL, without user and password.
  std::string url;
};

// The proxy through which gRPC would connect there: none to this machine itself, nor to what
// no_grpc_proxy, no_proxy or NO_PROXY names (a host, the end of a name, an address, a CIDR, *).
std::optional<Proxy> ProxyFor(const std::string& target);

}  // namespace finetune::inline client
