#pragma once

#include <grpcpp/server_context.h>

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/access/caller.h"

namespace finetune {

// Decides who makes a call, by its connection and its metadata. Thread-safe; never blocks. CallGate
// asks it for every method.
class Authenticator {
 public:
  virtual ~Authenticator() = default;

  // UNAUTHENTICATED / CREDENTIALS_MISSING or CREDENTIALS_INVALID; UNAVAILABLE /
  // ISSUER_KEYS_UNAVAILABLE if that cannot be decided right now.
  virtual absl::StatusOr<Admission> Authenticate(const grpc::ServerContextBase& context,
                                                 absl::Time now) = 0;
};

// For a gateway without a policy: anybody who reaches the port may do everything. All are one
// caller without a name, and what callers share is shared between machines instead.
std::unique_ptr<Authenticator> MakeOpenAuthenticator();

}  // namespace finetune
