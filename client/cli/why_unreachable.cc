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
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/text.h"
#include "client/cpp/target.h"
#include "client/cpp/tls_files.h"
#include "server/base/pem.h"

namespace finetune::cli {
namespace {

constexpr int kPatienceMs = 2'000;
constexpr std::string_view kHttpRequest = "GET / HTTP/1.0\r\n\r\n";

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

// Reads and writes may not take longer than the patience, either.
absl::StatusOr<Socket> ConnectTo(const addrinfo& address) {
  Socket made(socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{.tv_sec = kPatienceMs / 1000, .tv_usec = 0};
  setsockopt(made.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  // This also limits connect().
  setsockopt(made.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  if (::connect(made.get(), address.ai_addr, address.ai_addrlen) == 0) return made;
  return absl::UnavailableError(errno == EINPROGRESS ? "no answer" : std::strerror(errno));
}

absl::StatusOr<Socket> ConnectTo(const HostAndPort& target) {
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

// One handshake, and what it shows. It goes on with a bad certificate, to learn more; nothing is
// sent after it.
class Handshake {
 public:
  // Without `pem`, no authority is trusted and no certificate shown. A `pem` without authorities
  // means the system's.
  Handshake(const Socket& socket, const std::string& host, const TlsPem* pem)
      : context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_client_cert_cb(context_.get(), OnCertificateWanted);
    if (pem != nullptr) Use(*pem);
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
  // The other end speaks TLS, whatever it thinks of us.
  bool speaks_tls() const { return done_ || certificate() != nullptr; }
  // Whether nothing came in time.
  bool silent() const { return silent_; }
  bool certificate_wanted() const { return certificate_wanted_; }
  long verify_result() const { return SSL_get_verify_result(tls_.get()); }  // NOLINT(*-int)
  X509* certificate() const { return SSL_get0_peer_certificate(tls_.get()); }

  // Whether the other end goes on talking: an HTTP/2 server speaks first. It refuses a client's
  // certificate only after its own part of the handshake.
  bool GoesOn() {
    char byte;
    return SSL_read(tls_.get(), &byte, 1) == 1;
  }

 private:
  void Use(const TlsPem& pem) {
    if (pem.ca.empty()) {
      SSL_CTX_set_default_verify_paths(context_.get());
    } else {
      const auto authorities = ReadPemCertificates(pem.ca).found;
      for (const CertificatePtr& authority : authorities)
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context_.get()), authority.get());
    }
    const auto own = ReadPemCertificates(pem.cert).found;
    if (own.empty()) return;
    SSL_CTX_use_certificate(context_.get(), own.front().get());
    for (size_t i = 1; i < own.size(); ++i) SSL_CTX_add1_chain_cert(context_.get(), own[i].get());
    if (const auto key = ReadPemKey(pem.key, ""); key.ok())
      SSL_CTX_use_PrivateKey(context_.get(), key->get());
  }

  // Called when a certificate is asked for and there is none.
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

Cause Unverified(const Handshake& handshake, const HostAndPort& target,
                 const ConnectOptions& options) {
  switch (handshake.verify_result()) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {"its certificate has expired", "Tell whoever operates the gateway."};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {"its certificate is not valid yet", "Look at this machine's clock."};
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return {absl::StrCat("its certificate is not for ", target.host),
              absl::StrCat("Give --server with a name that the certificate has: ",
                           Names(handshake.certificate()), ".")};
    default:
      return {absl::StrCat("its certificate is not signed by an authority ",
                           options.tls_ca.empty() ? std::string("that this system trusts")
                                                  : absl::StrCat("in ", options.tls_ca)),
              "Give the authority of the gateway's certificate with --tls-ca."};
  }
}

Cause TurnedAway(const Handshake& handshake, const ConnectOptions& options, const TlsPem& pem) {
  if (handshake.certificate_wanted()) {
    return {"it asks for a client certificate", "Give yours with --tls-cert and --tls-key."};
  }
  const auto own = ReadPemCertificates(pem.cert).found;
  if (own.empty()) return {};
  if (X509_cmp_current_time(X509_get0_notAfter(own.front().get())) < 0) {
    return {absl::StrCat("your certificate ", options.tls_cert, " has expired"),
            "Get a new one from its issuer."};
  }
  return {absl::StrCat("it does not accept the certificate ", options.tls_cert),
          "It must be signed by the gateway's --tls_client_ca_file, for client authentication."};
}

Cause WhyNoTls(const HostAndPort& target, const ConnectOptions& options, const TlsPem& pem) {
  const auto socket = ConnectTo(target);
  if (!socket.ok()) return {};
  Handshake handshake(*socket, target.host, &pem);
  if (handshake.silent()) return {"what is there does not answer", "Is it the right port?"};
  if (!handshake.speaks_tls()) {
    return {"what is there does not speak TLS",
            "Is it the right port? A gateway without TLS is called without the --tls flags."};
  }
  if (handshake.verify_result() != X509_V_OK) return Unverified(handshake, target, options);
  if (handshake.done() && handshake.GoesOn()) return {};
  return TurnedAway(handshake, options, pem);
}

Cause WhyNotPlain(const HostAndPort& target) {
  const auto for_tls = ConnectTo(target);
  if (!for_tls.ok()) return {};
  if (Handshake(*for_tls, target.host, nullptr).speaks_tls()) {
    return {"it speaks TLS",
            "Give the authority of its certificate with --tls-ca, or --tls for those that this "
            "system trusts."};
  }
  const auto socket = ConnectTo(target);
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

// OpenSSL cannot write without that signal.
class SigpipeIgnored {
 public:
  ~SigpipeIgnored() { std::signal(SIGPIPE, before_); }

 private:
  void (*const before_)(int) = std::signal(SIGPIPE, SIG_IGN);
};

}  // namespace

Cause WhyUnreachable(const std::string& target, const ConnectOptions& options, const TlsPem& pem) {
  // What can be seen from here says nothing about what the proxy sees.
  if (const auto proxy = ProxyFor(target)) {
    return {
        absl::StrCat("the way there is the proxy ", Printable(proxy->url), " of ", proxy->variable),
        absl::StrCat("Is it the proxy's to connect there? If not, name the gateway's host in "
                     "no_proxy.")};
  }
  const auto address = HostAndPortOf(target);
  if (!address) return {};
  const SigpipeIgnored writing_to_who_is_gone;
  const auto socket = ConnectTo(*address);
  if (!socket.ok()) {
    return {std::string(socket.status().message()), "Is the gateway running there? See --server."};
  }
  return WantsTls(options) ? WhyNoTls(*address, options, pem) : WhyNotPlain(*address);
}

}  // namespace finetune::cli
