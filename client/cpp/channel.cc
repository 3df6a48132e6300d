#include "client/cpp/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/stat.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cpp/small_file.h"
#include "client/cpp/tls_files.h"

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

// What may be sent of a token leaves room for the rest of a call's metadata.
constexpr size_t kLongestToken = 7 << 10;

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  const auto text = ReadSmallFile("token", path);
  if (!text.ok()) return text.status();
  const std::string token(absl::StripAsciiWhitespace(*text));
  const auto bad = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("the token file ", path, " ", why));
  };
  if (token.empty()) return bad("holds no token");
  if (token.size() > kLongestToken) return bad("holds more than 7 KiB, which is no token");
  if (absl::StartsWithIgnoreCase(token, "bearer "))
    return bad("must hold the token alone, without 'Bearer' before it");
  if (token.find_first_of(" \t\r\n") != token.npos)
    return bad("holds more than one word or line; it must hold the token alone");
  if (!std::all_of(token.begin(), token.end(),
                   [](unsigned char c) { return c > 0x20 && c < 0x7f; }))
    return bad("holds characters that no token has; it must hold the token alone, as plain text");
  return token;
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
  if (absl::Status status =
          CheckTlsFiles(options.tls_ca_file, options.tls_cert_file, options.tls_key_file);
      !status.ok())
    return status;
  if (!options.token_file.empty()) {
    if (const auto token = ReadToken(options.token_file); !token.ok()) return token.status();
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
  const auto token = ReadToken(path_);
  if (!token.ok()) {
    if (!header_.empty()) return header_;
    return token.status();
  }
  header_ = absl::StrCat("Bearer ", *token);
  seen_nanos_ = nanos;
  seen_size_ = facts.st_size;
  return header_;
}

}  // namespace finetune::inline client
