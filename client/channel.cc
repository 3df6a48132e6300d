#include "client/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace finetune::inline client {
namespace {

constexpr unsigned kCertificateRefreshSeconds = 60;

// The service config that README recommends to all clients; a test compares them. Calls wait for a
// gateway that is being replaced. Repeated is only what may be: a create carries a request_id
// (FineTuneClient sees to it). CANCELLED is what gRPC's C++ server answers, without having looked
// at it, to a call that arrives while it shuts down; an update is repeated after nothing else,
// because with an etag its own success would make the repetition fail. Streams are never retried by
// gRPC.
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

absl::Status CheckReadable(const std::string& what, const std::string& path) {
  if (path.empty() || std::ifstream(path).good()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("cannot read the ", what, " file ", path));
}

absl::Status CheckTarget(const std::string& target) {
  if (target.empty()) return absl::InvalidArgumentError("the server's address is empty");
  for (const char* scheme : {"http://", "https://"}) {
    if (absl::StartsWithIgnoreCase(target, scheme))
      return absl::InvalidArgumentError(
          absl::StrCat("the server's address is HOST:PORT, without ", scheme));
  }
  // gRPC would take the lower 16 bits of a port that is too large.
  const size_t colon = target.rfind(':');
  int64_t port = 1;
  if (colon != target.npos && absl::SimpleAtoi(target.substr(colon + 1), &port) &&
      (port < 1 || port > 65535))
    return absl::InvalidArgumentError(absl::StrCat("there is no port ", port));
  return absl::OkStatus();
}

bool StaysOnThisMachine(const std::string& target) {
  std::string host = target;
  for (const char* scheme : {"dns:///", "ipv4:", "ipv6:", "passthrough:///"}) {
    if (absl::StartsWith(host, scheme)) host = host.substr(std::string_view(scheme).size());
  }
  for (const char* local : {"127.", "localhost:", "[::1]:", "unix:", "unix-abstract:"}) {
    if (absl::StartsWith(host, local)) return true;
  }
  return host == "localhost";
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const ChannelOptions& options) {
  if (absl::Status status = CheckTarget(options.target); !status.ok()) return status;
  for (const auto& [what, path] :
       {std::pair("TLS CA", options.tls_ca_file),
        std::pair("TLS certificate", options.tls_cert_file),
        std::pair("TLS key", options.tls_key_file), std::pair("token", options.token_file)}) {
    if (absl::Status status = CheckReadable(what, path); !status.ok()) return status;
  }
  if (options.tls_cert_file.empty() != options.tls_key_file.empty()) {
    return absl::InvalidArgumentError("a TLS certificate needs its key, and a key its certificate");
  }
  const bool own_certificate = !options.tls_cert_file.empty();
  const bool own_authority = !options.tls_ca_file.empty();
  if (!options.tls && !own_certificate && !own_authority) {
    if (!options.token_file.empty() && !options.allow_insecure_token &&
        !StaysOnThisMachine(options.target)) {
      return absl::InvalidArgumentError(absl::StrCat("the token would be sent to ", options.target,
                                                     " without encryption: use TLS"));
    }
    return grpc::InsecureChannelCredentials();
  }
  grpc::experimental::TlsChannelCredentialsOptions tls;
  if (own_certificate || own_authority) {
    tls.set_certificate_provider(
        std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
            options.tls_key_file, options.tls_cert_file, options.tls_ca_file,
            kCertificateRefreshSeconds));
  }
  if (own_authority) tls.watch_root_certs();
  if (own_certificate) tls.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(tls);
}

std::shared_ptr<grpc::Channel> MakeChannel(
    const ChannelOptions& options, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetMaxReceiveMessageSize(options.max_message_bytes);
  // Files come fastest, and take the least work, in large frames and with a window that fits into
  // the processor's cache; gRPC's own probing makes it several times as large.
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 2 << 20);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 1 << 20);
  arguments.SetUserAgentPrefix(absl::StrCat("finetune-client/", FINETUNE_VERSION));
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // Else the pings stop after two on a stream that is quiet.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // The default lets a channel sleep for two minutes after its server has come back.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  // A pod that is replaced comes back under another address; by default gRPC asks for it again only
  // after half a minute.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1'000);
  return grpc::CreateCustomChannel(options.target, credentials, arguments);
}

absl::StatusOr<std::string> TokenFile::Authorization() {
  if (path_.empty()) return "";
  ClientLock lock(mu_);
  struct stat facts = {};
  const bool found = ::stat(path_.c_str(), &facts) == 0;
  const int64_t nanos = facts.st_mtim.tv_sec * 1'000'000'000 + facts.st_mtim.tv_nsec;
  if (found && nanos == seen_nanos_ && facts.st_size == seen_size_) return header_;
  std::ifstream file(path_);
  std::stringstream content;
  if (found) content << file.rdbuf();
  const std::string text = content.str();
  const std::string token(absl::StripAsciiWhitespace(text));
  const bool usable =
      !token.empty() &&
      std::all_of(token.begin(), token.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (!usable) {
    if (!header_.empty()) return header_;
    return absl::InvalidArgumentError(
        absl::StrCat("the token file ", path_, " holds no usable token"));
  }
  header_ = absl::StrCat("Bearer ", token);
  seen_nanos_ = nanos;
  seen_size_ = facts.st_size;
  return header_;
}

}  // namespace finetune::inline client
