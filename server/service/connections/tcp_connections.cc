#include "server/service/connections/tcp_connections.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

// Together more than a socket's buffer holds.
constexpr size_t kDiscardBytes = size_t{64} << 10;
constexpr int kMostDiscards = 4096;

struct Address {
  sockaddr_storage bytes{};
  socklen_t size = sizeof(bytes);

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&bytes); }
  const sockaddr_in& four() const { return reinterpret_cast<const sockaddr_in&>(bytes); }
  const sockaddr_in6& six() const { return reinterpret_cast<const sockaddr_in6&>(bytes); }
  bool is_four() const { return bytes.ss_family == AF_INET; }
  bool is_six() const { return bytes.ss_family == AF_INET6; }
  int port() const { return ntohs(is_four() ? four().sin_port : six().sin6_port); }
};

std::string PeerName(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.is_four()) {
    inet_ntop(AF_INET, &address.four().sin_addr, text, sizeof(text));
    return absl::StrCat("ipv4:", text, ":", address.port());
  }
  const sockaddr_in6& six = address.six();
  if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {
    inet_ntop(AF_INET, six.sin6_addr.s6_addr + 12, text, sizeof(text));
    return absl::StrCat("ipv4:", text, ":", address.port());
  }
  inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof(text));
  // gRPC makes a URI of the address, in which "%" is "%25".
  const std::string zone = six.sin6_scope_id == 0 ? "" : absl::StrCat("%25", six.sin6_scope_id);
  return absl::StrCat("ipv6:%5B", text, zone, "%5D:", address.port());
}

Source SourceOf(const Address& address) {
  const auto number = [](const uint8_t* bytes, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; ++i) value = value << 8 | bytes[i];
    return value;
  };
  if (address.is_four()) return {.bits = ntohl(address.four().sin_addr.s_addr)};
  const in6_addr& six = address.six().sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&six)) return {.bits = number(six.s6_addr + 12, 4)};
  return {.is_six = true, .bits = number(six.s6_addr, 8)};
}

bool IsOn(int port, int fd) {
  Address here;
  return getsockname(fd, here.get(), &here.size) == 0 && (here.is_four() || here.is_six()) &&
         here.port() == port;
}

std::optional<TcpConnection> Describe(int fd, int port) {
  struct stat file {};
  if (fstat(fd, &file) != 0 || !S_ISSOCK(file.st_mode) || !IsOn(port, fd)) return std::nullopt;
  Address there;
  if (getpeername(fd, there.get(), &there.size) != 0) return std::nullopt;
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  int unread = 0;
  if (ioctl(fd, FIONREAD, &unread) != 0) unread = 0;
  return TcpConnection{
      .inode = file.st_ino,
      .fd = fd,
      .peer = PeerName(there),
      .source = SourceOf(there),
      .read_bytes = std::max<int64_t>(0, static_cast<int64_t>(info.tcpi_bytes_received) - unread),
      .sent_bytes = static_cast<int64_t>(info.tcpi_bytes_acked),
      .idle = absl::Milliseconds(info.tcpi_last_data_recv)};
}

// Calls `look` with each open file of the process.
template <typename Look>
void ForEachFile(const Look& look) {
  const std::unique_ptr<DIR, int (*)(DIR*)> files(opendir("/proc/self/fd"), &closedir);
  if (files == nullptr) return;
  while (const dirent* entry = readdir(files.get())) {
    int fd = -1;
    const char* end = entry->d_name + std::strlen(entry->d_name);
    if (std::from_chars(entry->d_name, end, fd).ptr == end) look(fd);
  }
}

bool IsSame(int fd, const TcpConnection& connection) {
  struct stat file {};
  return fstat(fd, &file) == 0 && S_ISSOCK(file.st_mode) && file.st_ino == connection.inode;
}

}  // namespace

std::string NameOf(const Source& source) {
  char text[INET6_ADDRSTRLEN] = "";
  if (!source.is_six) {
    const in_addr four{.s_addr = htonl(static_cast<uint32_t>(source.bits))};
    return inet_ntop(AF_INET, &four, text, sizeof(text));
  }
  in6_addr six{};
  for (int i = 0; i < 8; ++i) six.s6_addr[i] = static_cast<uint8_t>(source.bits >> (56 - 8 * i));
  return absl::StrCat(inet_ntop(AF_INET6, &six, text, sizeof(text)), "/64");
}

std::vector<TcpConnection> ConnectionsOn(int port) {
  std::vector<TcpConnection> found;
  ForEachFile([&](int fd) {
    if (auto connection = Describe(fd, port)) found.push_back(*std::move(connection));
  });
  return found;
}

std::vector<int> ListenersOn(int port) {
  std::vector<int> found;
  ForEachFile([&](int fd) {
    int listens = 0;
    socklen_t size = sizeof(listens);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0 &&
        IsOn(port, fd))
      found.push_back(fd);
  });
  return found;
}

bool CutConnection(const TcpConnection& connection) {
  // A descriptor of our own: its number cannot become another connection's in between.
  const int own = fcntl(connection.fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return false;
  const bool same = IsSame(own, connection);
  if (same) {
    // Reset without a farewell: the other side learns of it at its next write.
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    setsockopt(own, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    shutdown(own, SHUT_RDWR);
    // Otherwise gRPC would read what the kernel still holds before it sees the end.
    std::vector<char> nowhere(kDiscardBytes);  // MSG_TRUNC copies nothing.
    for (int i = 0; i < kMostDiscards; ++i)
      if (recv(own, nowhere.data(), nowhere.size(), MSG_TRUNC | MSG_DONTWAIT) <= 0) break;
  }
  close(own);
  return same;
}

}  // namespace finetune
