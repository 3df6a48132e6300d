#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace finetune {

// Whether the gRPC port takes new connections: opens one and waits for the server's first bytes
// (HTTP/2 settings or, with TLS, its part of a handshake that then is given up). gRPC 1.51 may stop accepting
// for good once it has run out of descriptors (CVE-2023-4785), which only a new connection shows.
// Blocks for up to `timeout`.
absl::Status ProbeListener(const std::string& host, int port, bool tls, absl::Duration timeout);

}  // namespace finetune
