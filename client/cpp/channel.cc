#include "client/cpp/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/session.h"
#include "client/cpp/target.h"

namespace finetune::inline client {
namespace {

// The service config that client/README.md recommends to all clients; a test compares them. Calls
// wait for a gateway that is being replaced. Repeated is only what may be: a create carries a
// request_id (FineTuneClient sees to it). CANCELLED is what gRPC's C++ server answers, without
// having looked at it, to a call that arrives while it shuts down; an update is repeated after
// nothing else, because with an etag its own success would make the repetition fail. Streams are
// never retried by gRPC.
constexpr char kServiceConfig[] = R"({
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [
      {"service": "segmind.finetune.v1.FineTuneService", "method": "CreateFineTune"},
      {"service": "segmind.finetune.v1.FineTuneService", "method": "GetFineTune"},
      {"service": "segmind.finetune.v1.FineTuneService", "method": "ListFineTunes"},
      {"service": "segmind.finetune.v1.FineTuneService", "method": "WaitFineTune"},
      {"service": "segmind.finetune.v1.FineTuneService", "method": "CreateUploadUrl"},
      {"service": "segmind.finetune.v1.FineTuneService", "method": "GetGatewayStatus"}
    ],
    "waitForReady": true,
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.1s",
      "maxBackoff": "5s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"]
    }
  }, {
    "name": [{"service": "segmind.finetune.v1.FineTuneService", "method": "UpdateFineTune"}],
    "waitForReady": true,
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.1s",
      "maxBackoff": "5s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["CANCELLED"]
    }
  }],
  "retryThrottling": {"maxTokens": 1000, "tokenRatio": 0.1}
})";

}  // namespace

bool WantsTls(const ConnectOptions& options) {
  return options.tls || !options.tls_ca.empty() || !options.tls_cert.empty();
}

std::shared_ptr<grpc::ChannelCredentials> MakeCredentials(const ConnectOptions& options,
                                                          const TlsPem& pem) {
  if (!WantsTls(options)) return grpc::InsecureChannelCredentials();
  return grpc::SslCredentials({pem.ca, pem.key, pem.cert});
}

std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& target, const ConnectOptions& options,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetMaxReceiveMessageSize(options.max_message_bytes);
  // Files arrive fastest and with the least work in large frames, with a window that fits into the
  // processor's cache. gRPC's own probing would make it several times as large.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 2 << 20);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 1 << 20);
  arguments.SetUserAgentPrefix(absl::StrCat("finetune-client/", FINETUNE_VERSION));
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // Otherwise the pings stop after two on a stream that is quiet.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // The default lets a channel sleep for two minutes after its server has come back.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  // A pod that is replaced comes back at another address, for which gRPC by default asks again only
  // after half a minute.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1'000);
  if (!ProxyFor(target)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (!options.tls_server_name.empty()) arguments.SetSslTargetNameOverride(options.tls_server_name);
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(MakeSessionInterceptors());
  return grpc::experimental::CreateCustomChannelWithInterceptors(target, credentials, arguments,
                                                                 std::move(interceptors));
}

}  // namespace finetune::inline client
