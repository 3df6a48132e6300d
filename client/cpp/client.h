// The C++ client of the fine-tune gateway. Start here:
//
//   finetune::ClientOptions options;
//   options.channel.target = "dns:///finetune-gateway:50051";
//   auto client = finetune::FineTuneClient::Create(options);
//   if (!client.ok()) …
//   auto job = (*client)->GetFineTune("fineTunes/1b9d…");
//   auto subscription = (*client)->Subscribe({.names = {job->name()}}, [](const
//   finetune::WatchEvent& e) { … });
#pragma once

#include <segmind/finetune/v1/fine_tune_service.grpc.pb.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cpp/channel.h"
#include "client/cpp/retry_backoff.h"
#include "client/cpp/status.h"
#include "client/cpp/sync.h"
#include "client/cpp/watch_client.h"

namespace finetune::inline client {

struct ClientOptions {
  ChannelOptions channel;
  // The deadline of a call that names none.
  absl::Duration default_timeout = absl::Seconds(30);
  // Calls wait, up to their deadline, for a gateway that is out of reach, such as one that is being
  // replaced. False: they fail with UNAVAILABLE after a second or two.
  bool wait_for_ready = true;
  // How often CreateFineTune and an UpdateFineTune without etag are tried while the gateway is
  // UNAVAILABLE, on top of what the channel repeats by itself; all within the call's deadline.
  int attempts = 4;
  BackoffOptions backoff = {.initial = absl::Milliseconds(250), .maximum = absl::Seconds(5)};
};

struct CallOptions {
  std::optional<absl::Duration> timeout;
};

// One gateway, over one channel for calls and one for watches. Failures are those of the contract,
// with their details (client/cpp/status.h). Thread-safe. Outlives the Watchers and Subscriptions that
// it makes.
class FineTuneClient {
 public:
  // INVALID_ARGUMENT for options that cannot work. Does not connect; the first call does.
  static absl::StatusOr<std::unique_ptr<FineTuneClient>> Create(ClientOptions options);
  ~FineTuneClient();

  // Makes a request_id when the request has none, and repeats the call with it while the gateway is
  // UNAVAILABLE: that can submit nothing twice. A caller that wants to go on after its own restart
  // gives a request_id that it has kept.
  absl::StatusOr<pb::FineTune> CreateFineTune(pb::CreateFineTuneRequest request,
                                              CallOptions call = {});

  absl::StatusOr<pb::FineTune> GetFineTune(const pb::GetFineTuneRequest& request,
                                           CallOptions call = {});
  absl::StatusOr<pb::FineTune> GetFineTune(const std::string& name, CallOptions call = {});

  // One page.
  absl::StatusOr<pb::ListFineTunesResponse> ListFineTunes(const pb::ListFineTunesRequest& request,
                                                          CallOptions call = {});

  absl::StatusOr<pb::FineTune> UpdateFineTune(const pb::UpdateFineTuneRequest& request,
                                              CallOptions call = {});

  // One call: returns at the latest when the request's timeout (an hour by default) has passed,
  // with `done` false.
  absl::StatusOr<pb::WaitFineTuneResponse> WaitFineTune(const pb::WaitFineTuneRequest& request,
                                                        CallOptions call = {});

  // Waits until the job reaches `until` (or is terminal) or `timeout` has passed, in as many calls
  // as that takes, also across restarts of the gateway. `done` is false when the time ran out; an
  // error when the gateway was out of reach at that moment.
  absl::StatusOr<pb::WaitFineTuneResponse> WaitUntil(const std::string& name,
                                                     pb::FineTune::State until,
                                                     absl::Duration timeout);

  absl::StatusOr<pb::UploadUrl> CreateUploadUrl(const pb::CreateUploadUrlRequest& request,
                                                CallOptions call = {});

  absl::StatusOr<pb::GatewayStatus> GetGatewayStatus(CallOptions call = {});

  // A stream of its own, with its own filter and delivery; few programs need one beside
  // Subscribe().
  std::unique_ptr<Watcher> NewWatcher(WatcherOptions options);

  // A subscription on the stream that all of this client's subscriptions share; see
  // Watcher::Subscribe. The stream is opened by the first and stays.
  std::unique_ptr<Subscription> Subscribe(SubscriptionOptions options, WatchCallback callback)
      ABSL_LOCKS_EXCLUDED(mu_);

  // For calls that have no method here, such as the transfers (client/cpp/transfer.h).
  pb::FineTuneService::StubInterface& stub() { return *calls_; }

  // Deadline and token for one call. `timeout` absent: no deadline.
  absl::Status Prepare(grpc::ClientContext& context, std::optional<absl::Duration> timeout);

 private:
  FineTuneClient(ClientOptions options,
                 const std::shared_ptr<grpc::ChannelCredentials>& credentials);

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (pb::FineTuneService::StubInterface::*method)(
                                    grpc::ClientContext*, const Request&, Response*),
                                const Request& request, absl::Duration timeout);

  // Call(), repeated while UNAVAILABLE as ClientOptions say.
  template <typename Request, typename Response>
  absl::StatusOr<Response> CallRepeatedly(
      grpc::Status (pb::FineTuneService::StubInterface::*method)(grpc::ClientContext*,
                                                                 const Request&, Response*),
      const Request& request, absl::Duration timeout);

  absl::Duration TimeoutOf(const CallOptions& call) const {
    return call.timeout.value_or(options_.default_timeout);
  }

  // Constant after construction.
  const ClientOptions options_;
  const std::shared_ptr<TokenFile> token_;
  const std::unique_ptr<pb::FineTuneService::Stub> calls_;
  const std::shared_ptr<pb::FineTuneService::Stub> watches_;

  ClientMutex mu_;
  std::unique_ptr<Watcher> shared_watcher_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune::inline client
