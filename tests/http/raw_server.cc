#include "tests/http/raw_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "server/base/check.h"

namespace finetune {
namespace {

int Listen(int* port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  CHECK(bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
  CHECK(listen(fd, 64) == 0);
  CHECK(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  *port = ntohs(address.sin_port);
  return fd;
}

size_t ContentLength(const std::string& head) {
  constexpr char kName[] = "\r\ncontent-length:";
  for (size_t at = 0; (at = head.find("\r\n", at)) != std::string::npos; ++at)
    if (strncasecmp(head.c_str() + at, kName, sizeof(kName) - 1) == 0)
      return std::strtoul(head.c_str() + at + sizeof(kName) - 1, nullptr, 10);
  return 0;
}

}  // namespace

std::string RawConnection::ReadRequest() { return Read(/*body=*/true); }

std::string RawConnection::ReadHead() { return Read(/*body=*/false); }

std::string RawConnection::Read(bool body) {
  size_t want = std::string::npos;
  while (true) {
    if (const size_t end = buffered_.find("\r\n\r\n"); end != std::string::npos)
      want = end + 4 + (body ? ContentLength(buffered_.substr(0, end + 2)) : 0);
    if (buffered_.size() >= want) {
      std::string request = buffered_.substr(0, want);
      buffered_.erase(0, want);
      return request;
    }
    char bytes[4096];
    const ssize_t got = recv(fd_, bytes, sizeof(bytes), 0);
    if (got <= 0) return "";
    buffered_.append(bytes, static_cast<size_t>(got));
  }
}

bool RawConnection::Send(const std::string& text) {
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t got = send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (got <= 0) return false;
    sent += static_cast<size_t>(got);
  }
  return true;
}

void RawConnection::Answer(int code, const std::string& body, const std::string& more_headers) {
  Send("HTTP/1.1 " + std::to_string(code) + " Whatever\r\nContent-Length: " +
       std::to_string(body.size()) + "\r\n" + more_headers + "\r\n" + body);
}

void RawConnection::AwaitEnd() {
  char bytes[4096];
  while (recv(fd_, bytes, sizeof(bytes), 0) > 0) {
  }
}

void RawConnection::Close() {
  if (fd_ >= 0) {
    shutdown(fd_, SHUT_RDWR);  // The server holds a duplicate.
    close(fd_);
  }
  fd_ = -1;
}

void RawConnection::Reset() {
  // Connecting to "nothing" is how Linux sends an RST whatever duplicates there are.
  sockaddr nothing = {};
  nothing.sa_family = AF_UNSPEC;
  connect(fd_, &nothing, sizeof(nothing));
  Close();
}

RawServer::RawServer(std::function<void(RawConnection&)> serve)
    : serve_(std::move(serve)), listener_(Listen(&port_)), accepter_([this] { Accept(); }) {}

RawServer::~RawServer() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    for (int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  shutdown(listener_, SHUT_RDWR);
  accepter_.join();
  {
    MutexLock lock(mu_);
    threads.swap(threads_);
  }
  for (std::thread& thread : threads) thread.join();
  MutexLock lock(mu_);
  for (int fd : open_) close(fd);
  close(listener_);
}

int RawServer::connections() const {
  MutexLock lock(mu_);
  return static_cast<int>(open_.size());
}

void RawServer::Accept() {
  while (true) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    MutexLock lock(mu_);
    if (stopping_) {
      close(fd);
      return;
    }
    open_.push_back(dup(fd));
    threads_.emplace_back([this, fd] {
      RawConnection connection(fd);
      serve_(connection);
    });
  }
}

int UnusedPort() {
  int port = 0;
  close(Listen(&port));
  return port;
}

}  // namespace finetune
