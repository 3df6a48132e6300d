#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace finetune {

// PEM files; all empty: no TLS.
struct TlsFiles {
  std::string cert;
  std::string key;
  // Certificates that may sign those of clients; with it clients must show one.
  std::string client_ca;

  bool enabled() const { return !cert.empty(); }
  bool mutual() const { return !client_ca.empty(); }
};

// What the gRPC port is opened with. The files are reread every few seconds, and new connections
// use what they say then. INVALID_ARGUMENT, in one sentence, if a file cannot be read or the key
// does not fit the certificate.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TlsFiles& files);

struct Validity {
  absl::Time begin;
  absl::Time end;
};

// When the first certificate of the PEM file is valid. INVALID_ARGUMENT if there is none.
absl::StatusOr<Validity> ReadValidity(const std::string& cert_file);

// The rule of the open door: without TLS and a policy the service binds only to loopback, unless
// `allow_insecure`. `host` as in --listen. INVALID_ARGUMENT, saying so.
absl::Status CheckBinding(const std::string& host, const TlsFiles& files, bool has_policy,
                          bool allow_insecure);

// Whether `host` (a name or an address, IPv6 with or without brackets) can only mean this machine.
bool IsLoopback(const std::string& host);

}  // namespace finetune
