#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace finetune {

// Where connections come from, as far as one client is told from another: an address of IPv4, or
// the /64 of one of IPv6.
struct Source {
  bool is_six = false;
  uint64_t bits = 0;  // The address, or its first half.

  auto operator<=>(const Source&) const = default;
};

// Such as "192.0.2.1" or "2001:db8::/64".
std::string NameOf(const Source& source);

// A connection that this process has accepted, as the kernel knows it.
struct TcpConnection {
  ino_t inode = 0;   // Tells it apart from all others for as long as it is open.
  int fd = -1;       // Another's by now, perhaps: see CutConnection.
  std::string peer;  // As gRPC calls it.
  Source source;
  int64_t read_bytes = 0;
  int64_t sent_bytes = 0;  // Which the other side has acknowledged.
  absl::Duration idle;     // Since something came.
};

// Those that were accepted on `port`. Some microseconds for each open file of the process.
std::vector<TcpConnection> ConnectionsOn(int port);

// The sockets of this process that listen on `port`.
std::vector<int> ListenersOn(int port);

// Ends `connection` for both sides and drops what it has sent and nobody has read; the code that
// has it open finds out at the next read or write, and closes it. False if it is gone already.
bool CutConnection(const TcpConnection& connection);

}  // namespace finetune
