#include "tests/bench/sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "tests/bench/process.h"

namespace finetune::bench {
namespace {

constexpr size_t kThreads = 2;

}  // namespace

Socket::Socket(const std::string& target) {
  const size_t colon = target.find(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::stoi(target.substr(colon + 1))));
  inet_pton(AF_INET, target.substr(0, colon).c_str(), &address.sin_addr);
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ok_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

Socket::~Socket() { close(fd_); }

void Socket::Send(std::string_view bytes) {
  while (ok_ && !bytes.empty()) {
    const ssize_t sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      ok_ = false;
    } else {
      bytes.remove_prefix(sent);
    }
  }
}

void Socket::Receive(const Parse& parse) {
  char part[256 << 10];
  const ssize_t got = recv(fd_, part, sizeof(part), 0);
  const int64_t now = NowNanoseconds();
  if (got <= 0) {
    ok_ = false;
    return;
  }
  const std::string_view fresh(part, got);
  if (left_.empty()) {
    left_.assign(fresh.substr(parse(fresh, now)));
    return;
  }
  left_.append(fresh);
  left_.erase(0, parse(left_, now));
}

SocketReaders::SocketReaders(std::vector<Entry> entries, std::function<void()> on_end)
    : entries_(std::move(entries)), on_end_(std::move(on_end)) {
  for (size_t part = 0; part < kThreads; ++part) threads_.emplace_back([this, part] { Run(part); });
}

SocketReaders::~SocketReaders() {
  stop_ = true;
  for (std::thread& thread : threads_) thread.join();
}

void SocketReaders::Run(size_t part) {
  const int poll = epoll_create1(EPOLL_CLOEXEC);
  for (size_t i = part; i < entries_.size(); i += kThreads) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    epoll_ctl(poll, EPOLL_CTL_ADD, entries_[i].socket->fd(), &event);
  }
  while (!stop_) {
    epoll_event events[64];
    const int count = epoll_wait(poll, events, 64, 100);
    for (int i = 0; i < count; ++i) {
      const Entry& entry = entries_[events[i].data.u64];
      entry.socket->Receive(entry.parse);
      if (entry.socket->ok()) continue;
      epoll_ctl(poll, EPOLL_CTL_DEL, entry.socket->fd(), nullptr);
      on_end_();
    }
  }
  close(poll);
}

}  // namespace finetune::bench
