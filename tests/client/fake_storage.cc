#include "tests/client/fake_storage.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace finetune {

FakeStorage::FakeStorage(std::string content, std::string etag)
    : content_(std::move(content)), etag_(std::move(etag)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
  ::listen(listener_, 16);
  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Serve(); });
}

FakeStorage::~FakeStorage() {
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  ::close(listener_);
}

void FakeStorage::BreakAfter(size_t bytes) {
  std::lock_guard lock(mu_);
  break_after_ = bytes;
}

void FakeStorage::Answer(int code) {
  std::lock_guard lock(mu_);
  code_ = code;
}

std::vector<std::string> FakeStorage::requests() {
  std::lock_guard lock(mu_);
  return requests_;
}

void FakeStorage::Serve() {
  int connection = -1;
  while ((connection = ::accept(listener_, nullptr, nullptr)) >= 0) {
    Handle(connection);
    ::close(connection);
  }
}

void FakeStorage::Handle(int connection) {
  std::string request;
  char block[4096];
  const auto read_more = [&] {
    const ssize_t got = ::read(connection, block, sizeof(block));
    if (got > 0) request.append(block, got);
    return got > 0;
  };
  size_t head = 0;
  while ((head = request.find("\r\n\r\n")) == std::string::npos) {
    if (!read_more()) return;
  }
  const size_t length = request.find("Content-Length: ");
  const size_t body = length < head ? std::stoul(request.substr(length + 16)) : 0;
  while (request.size() < head + 4 + body && read_more()) {
  }
  const std::string response = Respond(request.substr(0, head));
  {
    std::lock_guard lock(mu_);
    requests_.push_back(request);
  }
  for (size_t sent = 0; sent < response.size();) {
    const ssize_t put =
        ::send(connection, response.data() + sent, response.size() - sent, MSG_NOSIGNAL);
    if (put <= 0) return;
    sent += put;
  }
}

std::string FakeStorage::Respond(const std::string& head) {
  std::lock_guard lock(mu_);
  if (code_ != 0) {
    return "HTTP/1.1 " + std::to_string(code_) +
           " No\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<xml>";
  }
  if (head.rfind("PUT ", 0) == 0)
    return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  const size_t range = head.find("Range: bytes=");
  const bool same = head.find("If-Range: " + etag_) != std::string::npos;
  const size_t first = range != std::string::npos && same ? std::stoul(head.substr(range + 13)) : 0;
  const std::string body = content_.substr(first);
  return "HTTP/1.1 " + std::string(first > 0 ? "206 Partial Content" : "200 OK") +
         "\r\nETag: " + etag_ + "\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nConnection: close\r\n\r\n" + body.substr(0, break_after_);
}

}  // namespace finetune
