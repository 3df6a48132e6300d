#pragma once

#include <string>
#include <string_view>

namespace finetune {

// Who is at the other end of a connection, by what gRPC calls it: "ipv4:192.0.2.1:4711",
// "ipv6:%5B2001:db8::1%5D:4711" or "unix:...".

// The address; empty for other sockets than these two.
std::string AddressOf(std::string_view peer);

// What is taken for one machine: an IPv4 address, or the network (/64) of an IPv6 one, because
// whoever has one address of it has all; else all of `peer`.
std::string MachineOf(std::string_view peer);

}  // namespace finetune
