// How a client reaches the gateway: addresses, credentials and the settings of the connection.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/sync.h"

namespace finetune::inline client {

struct ChannelOptions {
  // A gRPC name: `host:port`, `dns:///host:port` (all its addresses, in turn), `unix:/path`.
  std::string target = "127.0.0.1:50051";

  // TLS, with the system's certificate authorities unless `tls_ca_file` is set. Implied by any of
  // the files.
  bool tls = false;
  std::string tls_ca_file;
  // The client's own certificate and key, PEM, both or neither. Read again when they change.
  std::string tls_cert_file;
  std::string tls_key_file;

  // A file that holds a bearer token; read again when it changes.
  std::string token_file;
  // Send the token without TLS to another machine. Only where something else encrypts the
  // connection.
  bool allow_insecure_token = false;

  // The largest answer that is accepted. A full page of 1000 jobs is a few MiB.
  int max_message_bytes = 64 << 20;
};

// INVALID_ARGUMENT for a file that is missing, unreadable or without its counterpart, and for a
// token that would be sent in the clear.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const ChannelOptions& options);

// A channel with connections of its own: channels of different purposes do not share them, so that
// watches never hold up calls when a server limits the streams of a connection.
std::shared_ptr<grpc::Channel> MakeChannel(
    const ChannelOptions& options, const std::shared_ptr<grpc::ChannelCredentials>& credentials);

// The bearer token in a file, read again when the file's time or size changes. Thread-safe.
class TokenFile {
 public:
  // An empty path means no token.
  explicit TokenFile(std::string path) : path_(std::move(path)) {}

  // The `authorization` header's value; empty without a token. INVALID_ARGUMENT if the file cannot
  // be read or holds what a header cannot; a file that becomes unreadable later leaves the last
  // token in use.
  absl::StatusOr<std::string> Authorization() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const std::string path_;

  ClientMutex mu_;
  std::string header_ ABSL_GUARDED_BY(mu_);
  int64_t seen_nanos_ ABSL_GUARDED_BY(mu_) = -1;
  int64_t seen_size_ ABSL_GUARDED_BY(mu_) = -1;
};

}  // namespace finetune::inline client
