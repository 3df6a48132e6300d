#include "server/service/listener_probe.h"

#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "server/base/clock.h"

namespace finetune {
namespace {

// The client's preface and an empty SETTINGS frame.
constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

// The address at which this process reaches a listener on `host`.
std::string ReachableHost(const std::string& host) {
  if (host == "0.0.0.0") return "127.0.0.1";
  if (host == "[::]" || host == "::") return "::1";
  if (host.size() > 2 && host.front() == '[') return host.substr(1, host.size() - 2);
  return host;
}

bool Await(int fd, short events, absl::Time deadline) {
  pollfd wanted{fd, events, 0};
  const int64_t left = absl::ToInt64Milliseconds(deadline - SteadyNow());
  return left > 0 && poll(&wanted, 1, static_cast<int>(left)) == 1;
}

// What a client of TLS says first; empty if OpenSSL has no memory.
std::string TlsHello() {
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  SSL_CTX_free);
  if (context == nullptr) return "";
  const std::unique_ptr<SSL, decltype(&SSL_free)> tls(SSL_new(context.get()), SSL_free);
  BIO* const in = BIO_new(BIO_s_mem());
  BIO* const out = BIO_new(BIO_s_mem());
  if (tls == nullptr || in == nullptr || out == nullptr) {
    BIO_free(in);
    BIO_free(out);
    return "";
  }
  SSL_set_bio(tls.get(), in, out);  // It owns them now.
  SSL_connect(tls.get());           // Not further than it can go without an answer.
  ERR_clear_error();
  char* data = nullptr;
  const long size = BIO_get_mem_data(out, &data);
  return std::string(data, static_cast<size_t>(size));
}

absl::Status Failed(absl::string_view what) {
  return absl::UnavailableError(absl::StrCat("the gRPC port ", what));
}

}  // namespace

absl::Status ProbeListener(const std::string& host, int port, bool tls, absl::Duration timeout) {
  const absl::Time deadline = SteadyNow() + timeout;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(ReachableHost(host).c_str(), std::to_string(port).c_str(), &hints, &found) != 0)
    return Failed("has no address");
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  const Socket socket(::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.fd() < 0) return Failed(absl::StrCat("cannot be tried: ", std::strerror(errno)));
  if (connect(socket.fd(), found->ai_addr, found->ai_addrlen) != 0 && errno != EINPROGRESS)
    return Failed(absl::StrCat("refuses connections: ", std::strerror(errno)));
  if (!Await(socket.fd(), POLLOUT, deadline)) return Failed("does not take connections");
  const std::string hello = tls ? TlsHello() : std::string(kPreface, sizeof(kPreface) - 1);
  if (send(socket.fd(), hello.data(), hello.size(), MSG_NOSIGNAL) < 0)
    return Failed(absl::StrCat("refuses connections: ", std::strerror(errno)));
  if (!Await(socket.fd(), POLLIN, deadline)) return Failed("takes connections but does not answer");
  return absl::OkStatus();
}

}  // namespace finetune
