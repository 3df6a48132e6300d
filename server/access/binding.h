#pragma once

#include <string>

#include "absl/status/status.h"
#include "server/access/tls_files.h"

namespace finetune {

// INVALID_ARGUMENT if the service would be open to anybody: without TLS and a policy it binds only
// to loopback, unless `allow_insecure`. `host` is as in --listen.
absl::Status CheckBinding(const std::string& host, const TlsFiles& files, bool has_policy,
                          bool allow_insecure);

// Whether `host` (a name or an address, IPv6 with or without brackets) can only mean this machine.
bool IsLoopback(const std::string& host);

}  // namespace finetune
