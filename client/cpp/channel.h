// The settings of a connection to the gateway.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "client/cpp/retry_backoff.h"
#include "client/cpp/tls_files.h"

namespace finetune::inline client {

// How to reach the gateway, and how long to try. Files are read again when they change; a pipe,
// which can be read only once, keeps its text.
struct ConnectOptions {
  // TLS, with the system's certificate authorities unless `tls_ca` is set. Implied by any of the
  // files.
  bool tls = false;
  // A PEM file of certificate authorities.
  std::string tls_ca;
  // PEM files of the client's own certificate and key: both or neither.
  std::string tls_cert;
  std::string tls_key;
  // The name that the gateway's certificate must have, if not that of the address.
  std::string tls_server_name;

  // A file that holds a bearer token.
  std::string token_file;
  // Send the token without TLS to another machine. Only where something else encrypts the
  // connection.
  bool allow_insecure_token = false;

  // The deadline of a call that names none.
  absl::Duration timeout = absl::Seconds(30);
  // How long a transfer, which has no deadline, waits for a gateway that cannot be reached.
  absl::Duration connect_timeout = absl::Seconds(30);
  // True: calls wait, up to their deadline, for a gateway that cannot be reached, such as one that
  // is being replaced. False: they fail with UNAVAILABLE after a second or two.
  bool wait_for_ready = true;
  // The waits between the tries of a submission, and of an update without etag, while the gateway
  // cannot be reached; all within the call's deadline.
  BackoffOptions backoff = {.initial = absl::Milliseconds(250), .maximum = absl::Seconds(5)};

  // The largest answer that is accepted. A full page of 1000 jobs is a few MiB.
  int max_message_bytes = 64 << 20;
};

// Whether the options ask for TLS.
bool WantsTls(const ConnectOptions& options);

std::shared_ptr<grpc::ChannelCredentials> MakeCredentials(const ConnectOptions& options,
                                                          const TlsPem& pem);

// A channel with connections of its own: channels for different purposes do not share them, so that
// watches never hold up calls when a server limits the streams of a connection. A target on this
// machine is never reached through a proxy. No call on the channel, except streams, sees less than
// an earlier one saw, whichever of several gateways answers.
std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& target, const ConnectOptions& options,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials);

}  // namespace finetune::inline client
