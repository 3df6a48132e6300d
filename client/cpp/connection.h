#pragma once

#include <grpcpp/client_context.h>
#include <segmind/finetune/v1/fine_tune_service.grpc.pb.h>

#include <chrono>
#include <memory>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/changing_file.h"
#include "client/cpp/channel.h"
#include "client/cpp/sync.h"
#include "client/cpp/tls_files.h"

namespace finetune::inline client {

namespace pb = ::segmind::finetune::v1;

// How one client reaches one gateway: a channel for calls, one for watches, and the token. When the
// TLS files hold a new good set it makes new channels; calls under way go on over the old ones.
// Thread-safe. Shared by a client and its watchers.
class Connection {
 public:
  using Stub = pb::FineTuneService::StubInterface;

  // INVALID_ARGUMENT for options that cannot work: a file that is missing, unreadable or without
  // its counterpart, a token that would be sent in the clear. Does not connect; the first call
  // does.
  static absl::StatusOr<std::shared_ptr<Connection>> Open(std::string target,
                                                          ConnectOptions options);

  // The channel for a call that begins now.
  std::shared_ptr<Stub> calls() ABSL_LOCKS_EXCLUDED(mu_);
  std::shared_ptr<Stub> watches() ABSL_LOCKS_EXCLUDED(mu_);

  // The `authorization` header's value; empty without a token. CANCELLED after Close().
  // INVALID_ARGUMENT if there never was a good one; a file that becomes unreadable later leaves the
  // last token in use.
  absl::StatusOr<std::string> Authorization() ABSL_LOCKS_EXCLUDED(mu_);
  // Gives a call that header.
  absl::Status Authorize(grpc::ClientContext& context) ABSL_LOCKS_EXCLUDED(mu_);

  // Waits for a connection for calls: UNAVAILABLE if there is none within `connect_timeout`,
  // CANCELLED after Close(). OK at once without `wait_for_ready`.
  absl::Status AwaitReady() ABSL_LOCKS_EXCLUDED(mu_);

  const std::string& target() const { return target_; }
  const ConnectOptions& options() const { return options_; }
  // What the channels were made with.
  TlsPem tls_pem() ABSL_LOCKS_EXCLUDED(mu_);

  // Cancels the calls that are under way, and lets none begin.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class CallContext;

  Connection(std::string target, ConnectOptions options);

  absl::Status Start() ABSL_LOCKS_EXCLUDED(mu_);
  // Looks at the TLS files, now and then.
  void Refresh() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void MakeChannels() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status ReadToken() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  const std::string target_;
  const ConnectOptions options_;

  ClientMutex mu_;
  TlsFiles tls_files_ ABSL_GUARDED_BY(mu_);
  TlsPem tls_pem_ ABSL_GUARDED_BY(mu_);
  std::chrono::steady_clock::time_point look_again_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<grpc::Channel> calls_channel_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<Stub> calls_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<Stub> watches_ ABSL_GUARDED_BY(mu_);
  ChangingFile token_file_ ABSL_GUARDED_BY(mu_);
  // The text that `authorization_` was made from.
  std::string token_text_ ABSL_GUARDED_BY(mu_);
  // The header's value; empty without a token.
  std::string authorization_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<grpc::ClientContext*> under_way_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

// The context of one call, which ends when the connection is closed.
class CallContext : public grpc::ClientContext {
 public:
  explicit CallContext(Connection& connection);
  ~CallContext();

 private:
  Connection& connection_;
};

}  // namespace finetune::inline client
