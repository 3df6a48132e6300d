#include "client/cli/why_unreachable.h"

#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "client/cli/text.h"
#include "client/cpp/tls_files.h"

namespace finetune::cli {
namespace {

constexpr int kPatienceMs = 2'000;
constexpr std::string_view kHttpRequest = "GET / HTTP/1.0\r\n\r\n";

struct Target {
  std::string host;
  std::string port;
};

std::optional<Target> Parse(absl::string_view target) {
  for (const char* scheme : {"dns:///", "dns:", "ipv4:", "ipv6:", "passthrough:///"}) {
    if (absl::ConsumePrefix(&target, scheme)) break;
  }
  const size_t colon = target.rfind(':');
  if (colon == target.npos || absl::StartsWith(target, "unix")) return std::nullopt;
  Target parsed{std::string(target.substr(0, colon)), std::string(target.substr(colon + 1))};
  if (absl::StartsWith(parsed.host, "[") && absl::EndsWith(parsed.host, "]"))
    parsed.host = parsed.host.substr(1, parsed.host.size() - 2);
  return parsed;
}

class Socket {
 public:
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  ~Socket() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&&) = delete;

  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// Reading and writing may not take longer than the patience, either.
absl::StatusOr<Socket> ConnectTo(const addrinfo& address) {
  Socket made(socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{.tv_sec = kPatienceMs / 1000, .tv_usec = 0};
  setsockopt(made.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  // Of connect(), too.
  setsockopt(made.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  if (connect(made.get(), address.ai_addr, address.ai_addrlen) == 0) return made;
  return absl::UnavailableError(errno == EINPROGRESS ? "no answer" : std::strerror(errno));
}

absl::StatusOr<Socket> Connect(const Target& target) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(target.host.c_str(), target.port.c_str(), &hints, &found) != 0)
    return absl::NotFoundError(absl::StrCat("there is no host ", target.host));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, freeaddrinfo);
  absl::Status last;
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    auto socket = ConnectTo(*address);
    if (socket.ok()) return socket;
    last = socket.status();
  }
  return last;
}

struct FreeTls {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* tls) const { SSL_free(tls); }
};

// One handshake, and what was learned by it. It goes on with a certificate that is not good, so
// that more is learned; nothing is sent after it.
class Handshake {
 public:
  // Without `options` no authority is trusted, and no certificate shown.
  Handshake(const Socket& socket, const std::string& host, const ChannelOptions* options)
      : context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_client_cert_cb(context_.get(), OnCertificateWanted);
    if (options != nullptr) Use(*options);
    tls_.reset(SSL_new(context_.get()));
    SSL_set_app_data(tls_.get(), this);
    SSL_set_fd(tls_.get(), socket.get());
    SSL_set_alpn_protos(tls_.get(), reinterpret_cast<const unsigned char*>("\2h2"), 3);
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls_.get()), host.c_str()) != 1) {
      SSL_set_tlsext_host_name(tls_.get(), host.c_str());
      SSL_set1_host(tls_.get(), host.c_str());
    }
    ERR_clear_error();
    const int result = SSL_connect(tls_.get());
    done_ = result == 1;
    silent_ = SSL_get_error(tls_.get(), result) == SSL_ERROR_WANT_READ;
    ERR_clear_error();
  }

  bool done() const { return done_; }
  // Something that speaks TLS is there, whatever it thinks of us.
  bool speaks_tls() const { return done_ || certificate() != nullptr; }
  // Nothing came in time.
  bool silent() const { return silent_; }
  bool certificate_wanted() const { return certificate_wanted_; }
  long verify_result() const { return SSL_get_verify_result(tls_.get()); }  // NOLINT(*-int)
  X509* certificate() const { return SSL_get0_peer_certificate(tls_.get()); }

  // Whether the other end goes on talking: an HTTP/2 server speaks first. A client's certificate
  // that it does not like it refuses only after its own part of the handshake.
  bool GoesOn() {
    char byte;
    return SSL_read(tls_.get(), &byte, 1) == 1;
  }

 private:
  void Use(const ChannelOptions& options) {
    if (options.tls_ca_file.empty()) {
      SSL_CTX_set_default_verify_paths(context_.get());
    } else {
      SSL_CTX_load_verify_locations(context_.get(), options.tls_ca_file.c_str(), nullptr);
    }
    if (options.tls_cert_file.empty()) return;
    SSL_CTX_use_certificate_chain_file(context_.get(), options.tls_cert_file.c_str());
    SSL_CTX_use_PrivateKey_file(context_.get(), options.tls_key_file.c_str(), SSL_FILETYPE_PEM);
  }

  // Called where a certificate is asked for and there is none.
  static int OnCertificateWanted(SSL* tls, X509**, EVP_PKEY**) {
    static_cast<Handshake*>(SSL_get_app_data(tls))->certificate_wanted_ = true;
    return 0;
  }

  const std::unique_ptr<SSL_CTX, FreeTls> context_;
  std::unique_ptr<SSL, FreeTls> tls_;
  bool certificate_wanted_ = false;
  bool done_ = false;
  bool silent_ = false;
};

std::string Names(X509* certificate) {
  std::vector<std::string> names;
  auto* all = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(all); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(all, i);
    if (name->type != GEN_DNS) continue;
    const ASN1_STRING* text = name->d.dNSName;
    names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                       ASN1_STRING_length(text));
  }
  GENERAL_NAMES_free(all);
  constexpr size_t kMostShown = 4;
  if (names.size() > kMostShown) names.resize(kMostShown);
  return Printable(absl::StrJoin(names, ", "));
}

Cause Unverified(const Handshake& handshake, const Target& target, const ChannelOptions& options) {
  switch (handshake.verify_result()) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {"its certificate has expired", "Tell who operates the gateway."};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {"its certificate is not valid yet", "Look at this machine's clock."};
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return {absl::StrCat("its certificate is not for ", target.host),
              absl::StrCat("Give --server with a name that the certificate has: ",
                           Names(handshake.certificate()), ".")};
    default:
      return {absl::StrCat("its certificate is not signed by an authority ",
                           options.tls_ca_file.empty() ? std::string("that this system trusts")
                                                       : absl::StrCat("in ", options.tls_ca_file)),
              "Give the authority of the gateway's certificate with --tls-ca."};
  }
}

Cause TurnedAway(const Handshake& handshake, const ChannelOptions& options) {
  if (handshake.certificate_wanted()) {
    return {"it asks for a client certificate", "Give yours with --tls-cert and --tls-key."};
  }
  const auto own = options.tls_cert_file.empty()
                       ? absl::StatusOr<Certificate>(absl::NotFoundError(""))
                       : ReadCertificate("TLS certificate", options.tls_cert_file);
  if (!own.ok()) return {};
  if (X509_cmp_current_time(X509_get0_notAfter(own->get())) < 0) {
    return {absl::StrCat("your certificate ", options.tls_cert_file, " has expired"),
            "Get a new one from who issued it."};
  }
  return {absl::StrCat("it does not accept the certificate ", options.tls_cert_file),
          "It must be signed by the gateway's --tls_client_ca_file, for client authentication."};
}

Cause WhyNoTls(const Target& target, const ChannelOptions& options) {
  const auto socket = Connect(target);
  if (!socket.ok()) return {};
  Handshake handshake(*socket, target.host, &options);
  if (handshake.silent()) return {"what is there does not answer", "Is it the right port?"};
  if (!handshake.speaks_tls()) {
    return {"what is there does not speak TLS",
            "Is it the right port? A gateway without TLS is called without the --tls flags."};
  }
  if (handshake.verify_result() != X509_V_OK) return Unverified(handshake, target, options);
  if (handshake.done() && handshake.GoesOn()) return {};
  return TurnedAway(handshake, options);
}

Cause WhyNotPlain(const Target& target) {
  const auto for_tls = Connect(target);
  if (!for_tls.ok()) return {};
  if (Handshake(*for_tls, target.host, nullptr).speaks_tls()) {
    return {"it speaks TLS",
            "Give the authority of its certificate with --tls-ca, or --tls for those that this "
            "system trusts."};
  }
  const auto socket = Connect(target);
  if (!socket.ok()) return {};
  send(socket->get(), kHttpRequest.data(), kHttpRequest.size(), MSG_NOSIGNAL);
  char answer[5] = {};
  if (recv(socket->get(), answer, sizeof(answer), MSG_WAITALL) == sizeof(answer) &&
      std::memcmp(answer, "HTTP/", sizeof(answer)) == 0) {
    return {"what is there speaks HTTP, not gRPC",
            "Is it the right port? The gateway's is that of its flag --listen."};
  }
  return {};
}

// OpenSSL cannot be told to write without that signal.
class SigpipeIgnored {
 public:
  ~SigpipeIgnored() { std::signal(SIGPIPE, before_); }

 private:
  void (*const before_)(int) = std::signal(SIGPIPE, SIG_IGN);
};

// gRPC then connects to a proxy, and what is seen from here says nothing.
bool ThereIsAProxy() {
  for (const char* variable : {"grpc_proxy", "https_proxy", "http_proxy"}) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value != '\0') return true;
  }
  return false;
}

}  // namespace

Cause WhyUnreachable(const ChannelOptions& options) {
  const auto target = Parse(options.target);
  if (!target || ThereIsAProxy()) return {};
  const SigpipeIgnored writing_to_who_is_gone;
  const auto socket = Connect(*target);
  if (!socket.ok()) {
    return {std::string(socket.status().message()), "Is the gateway running there? See --server."};
  }
  const bool tls = options.tls || !options.tls_ca_file.empty() || !options.tls_cert_file.empty();
  return tls ? WhyNoTls(*target, options) : WhyNotPlain(*target);
}

}  // namespace finetune::cli
