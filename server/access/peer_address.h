#pragma once

#include <string>
#include <string_view>

namespace finetune {

// The other end of a connection, from gRPC's name for it: "ipv4:192.0.2.1:4711",
// "ipv6:%5B2001:db8::1%5D:4711" or "unix:...".

// The IP address; empty for other sockets.
std::string AddressOf(std::string_view peer);

// What counts as one machine: an IPv4 address, or the network (/64) of an IPv6 address, because a
// machine that has one address of it has all; for other sockets, all of `peer`.
std::string MachineOf(std::string_view peer);

}  // namespace finetune
