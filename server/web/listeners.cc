#include "server/web/listeners.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

// On a further address, another process may have the port that the first one was given.
constexpr int kTriesForAnyPort = 10;

std::string BareHost(const std::string& host) {
  return host.size() > 2 && host.front() == '[' ? host.substr(1, host.size() - 2) : host;
}

// An address in the form that the kernel takes, without a port.
struct SocketAddress {
  sockaddr_storage bytes = {};
  socklen_t length = 0;

  in_port_t& port() {
    return bytes.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bytes)->sin6_port
                                       : reinterpret_cast<sockaddr_in*>(&bytes)->sin_port;
  }
  bool operator==(const SocketAddress& other) const {
    return length == other.length && std::memcmp(&bytes, &other.bytes, length) == 0;
  }
};

absl::StatusOr<std::vector<SocketAddress>> AddressesOf(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int failure = getaddrinfo(BareHost(host).c_str(), "0", &hints, &found);
  if (failure != 0) return absl::UnavailableError(gai_strerror(failure));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family != AF_INET && one->ai_family != AF_INET6) continue;
    SocketAddress address{.length = one->ai_addrlen};
    std::memcpy(&address.bytes, one->ai_addr, one->ai_addrlen);
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(address);
  }
  return addresses;
}

// The socket, or -1 and errno.
int ListenOn(SocketAddress address, int port, bool alone) {
  address.port() = htons(static_cast<in_port_t>(port));
  const int fd = socket(address.bytes.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // Without it, Nagle and delayed ACKs cost 40 ms.
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  // `[::]` alone includes IPv4; next to an IPv4 address it must not.
  const int only_v6 = alone ? 0 : 1;
  if (address.bytes.ss_family == AF_INET6)
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof(only_v6));
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address.bytes), address.length) == 0 &&
      listen(fd, SOMAXCONN) == 0)
    return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

int PortOf(int fd) {
  SocketAddress bound{.length = sizeof(bound.bytes)};
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound.bytes), &bound.length);
  return ntohs(bound.port());
}

bool IsOfAnotherMachine(int error) { return error == EADDRNOTAVAIL || error == EAFNOSUPPORT; }

}  // namespace

Listeners::~Listeners() {
  for (const int fd : sockets_) close(fd);
}

absl::StatusOr<Listeners> Listeners::Open(const std::string& host, int port) {
  const std::string where = absl::StrCat("cannot listen on ", host, ":", port, ": ");
  const auto addresses = AddressesOf(host);
  if (!addresses.ok())
    return absl::UnavailableError(absl::StrCat(where, addresses.status().message()));
  int error = EADDRNOTAVAIL;
  for (int tries = port == 0 ? kTriesForAnyPort : 1; tries > 0; --tries) {
    Listeners made;
    made.port_ = port;
    error = EADDRNOTAVAIL;
    for (const SocketAddress& address : *addresses) {
      const int fd = ListenOn(address, made.port_, addresses->size() == 1);
      if (fd >= 0) {
        made.sockets_.push_back(fd);
        made.port_ = PortOf(fd);
      } else if (!IsOfAnotherMachine(errno)) {
        error = errno;
        made.port_ = -1;
        break;
      }
    }
    if (made.port_ >= 0 && !made.sockets_.empty()) return made;
    if (error != EADDRINUSE) break;
  }
  return absl::UnavailableError(absl::StrCat(where, std::strerror(error)));
}

}  // namespace finetune
