#pragma once

#include <vector>

#include "server/service/connections/tcp_connections.h"

namespace finetune {

// Lets the kernel take no more connections on `port` of this process from `sources`, instead of
// those that it took none from before; with none, it takes all again. Whoever is turned away is not
// told: its kernel tries again after a second, then after two more, and so on, so that a client
// that comes back at once comes back slowly. Connections that stand are left alone. False if the
// kernel does not do that. Some microseconds for each open file of the process.
bool CloseDoorTo(const std::vector<Source>& sources, int port);

}  // namespace finetune
