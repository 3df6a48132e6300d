#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace finetune {

// A connection that this process has accepted, as the kernel knows it.
struct TcpConnection {
  ino_t inode = 0;   // Tells it apart from all others for as long as it is open.
  int fd = -1;       // Another's by now, perhaps: see CutConnection.
  std::string peer;  // As gRPC calls it.
  int64_t read_bytes = 0;
  int64_t sent_bytes = 0;  // Which the other side has acknowledged.
  absl::Duration idle;     // Since something came.
};

// Those that were accepted on `port`. Some microseconds for each open file of the process.
std::vector<TcpConnection> ConnectionsOn(int port);

// Ends `connection` for both sides and drops what it has sent and nobody has read; the code that
// has it open finds out at the next read or write, and closes it. False if it is gone already.
bool CutConnection(const TcpConnection& connection);

}  // namespace finetune
