#include "client/cpp/connection.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/cpp/target.h"

namespace finetune::inline client {
namespace {

constexpr std::chrono::seconds kLookEvery(1);
constexpr absl::Duration kLookForCloseEvery = absl::Milliseconds(200);
// The gateway accepts 16 KiB of metadata; a token must leave room for the rest.
constexpr size_t kLongestToken = 15 << 10;

absl::StatusOr<std::string> TokenIn(const std::string& text, const std::string& path) {
  const std::string token(absl::StripAsciiWhitespace(text));
  const auto bad = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("the token file ", path, " ", why));
  };
  if (token.empty()) return bad("holds no token");
  if (token.size() > kLongestToken) return bad("holds more than 15 KiB, which is no token");
  if (absl::StartsWithIgnoreCase(token, "bearer "))
    return bad("must hold the token alone, without 'Bearer' before it");
  if (token.find_first_of(" \t\r\n") != token.npos)
    return bad("holds more than one word or line; it must hold the token alone");
  if (!std::all_of(token.begin(), token.end(),
                   [](unsigned char c) { return c > 0x20 && c < 0x7f; }))
    return bad("holds characters that no token has; it must hold the token alone, as plain text");
  return token;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Connection>> Connection::Open(std::string target,
                                                             ConnectOptions options) {
  if (absl::Status status = CheckTarget(target); !status.ok()) return status;
  std::shared_ptr<Connection> connection(new Connection(std::move(target), std::move(options)));
  if (absl::Status status = connection->Start(); !status.ok()) return status;
  return connection;
}

Connection::Connection(std::string target, ConnectOptions options)
    : target_(std::move(target)),
      options_(std::move(options)),
      tls_files_(options_.tls_ca, options_.tls_cert, options_.tls_key),
      token_file_("token", options_.token_file) {}

absl::Status Connection::Start() {
  ClientLock lock(mu_);
  if (absl::Status status = tls_files_.Look(); !status.ok()) return status;
  if (absl::Status status = ReadToken(); !status.ok()) return status;
  if (!options_.token_file.empty() && !WantsTls(options_) && !options_.allow_insecure_token &&
      !StaysOnThisMachine(target_)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the token would be sent to ", target_, " without encryption: use TLS"));
  }
  MakeChannels();
  return absl::OkStatus();
}

void Connection::MakeChannels() {
  tls_pem_ = tls_files_.pem();
  look_again_ = std::chrono::steady_clock::now() + kLookEvery;
  const auto credentials = MakeCredentials(options_, tls_pem_);
  calls_channel_ = MakeChannel(target_, options_, credentials);
  calls_ = pb::FineTuneService::NewStub(calls_channel_);
  watches_ = pb::FineTuneService::NewStub(MakeChannel(target_, options_, credentials));
}

void Connection::Refresh() {
  if (options_.tls_ca.empty() && options_.tls_cert.empty()) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < look_again_) return;
  look_again_ = now + kLookEvery;
  // While files are being replaced, or are bad, the earlier set stays in use.
  if (tls_files_.Look().ok() && tls_files_.pem() != tls_pem_) MakeChannels();
}

std::shared_ptr<Connection::Stub> Connection::calls() {
  ClientLock lock(mu_);
  Refresh();
  return calls_;
}

std::shared_ptr<Connection::Stub> Connection::watches() {
  ClientLock lock(mu_);
  Refresh();
  return watches_;
}

absl::Status Connection::AwaitReady() {
  if (!options_.wait_for_ready) return absl::OkStatus();
  std::shared_ptr<grpc::Channel> channel;
  {
    ClientLock lock(mu_);
    Refresh();
    channel = calls_channel_;
  }
  const absl::Time deadline = absl::Now() + options_.connect_timeout;
  while (true) {
    const absl::Time look = std::min(deadline, absl::Now() + kLookForCloseEvery);
    if (channel->WaitForConnected(absl::ToChronoTime(look))) return absl::OkStatus();
    {
      ClientLock lock(mu_);
      if (closed_) return absl::CancelledError("the client is closed");
    }
    if (look == deadline) {
      return absl::UnavailableError(absl::StrCat("could not connect to ", target_, " in ",
                                                 absl::ToDoubleSeconds(options_.connect_timeout),
                                                 " s"));
    }
  }
}

TlsPem Connection::tls_pem() {
  ClientLock lock(mu_);
  return tls_pem_;
}

absl::Status Connection::ReadToken() {
  if (options_.token_file.empty()) return absl::OkStatus();
  if (absl::Status status = token_file_.Look(); !status.ok()) return status;
  if (!authorization_.empty() && token_file_.text() == token_text_) return absl::OkStatus();
  const auto token = TokenIn(token_file_.text(), options_.token_file);
  if (!token.ok()) return token.status();
  authorization_ = absl::StrCat("Bearer ", *token);
  token_text_ = token_file_.text();
  return absl::OkStatus();
}

absl::StatusOr<std::string> Connection::Authorization() {
  ClientLock lock(mu_);
  if (closed_) return absl::CancelledError("the client is closed");
  if (absl::Status status = ReadToken(); !status.ok() && authorization_.empty()) return status;
  return authorization_;
}

absl::Status Connection::Authorize(grpc::ClientContext& context) {
  const auto header = Authorization();
  if (!header.ok()) return header.status();
  if (!header->empty()) context.AddMetadata("authorization", *header);
  return absl::OkStatus();
}

void Connection::Close() {
  ClientLock lock(mu_);
  closed_ = true;
  for (grpc::ClientContext* context : under_way_) context->TryCancel();
}

CallContext::CallContext(Connection& connection) : connection_(connection) {
  ClientLock lock(connection_.mu_);
  connection_.under_way_.insert(this);
  if (connection_.closed_) TryCancel();
}

CallContext::~CallContext() {
  ClientLock lock(connection_.mu_);
  connection_.under_way_.erase(this);
}

}  // namespace finetune::inline client
