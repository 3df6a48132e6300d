#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <iostream>
#include <memory>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/bench/changes.h"
#include "tests/bench/peers.h"
#include "tests/bench/process.h"

namespace finetune::bench {
namespace {

// As many as gRPC's client has on this many cores.
constexpr int kThreads = 2;
constexpr std::string_view kConnect = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";

// A connection of NATS's text protocol. Not thread-safe.
class NatsConnection {
 public:
  NatsConnection(const std::string& target, Receipts& receipts) : receipts_(receipts) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(std::stoi(target.substr(target.find(':') + 1)));
    inet_pton(AF_INET, target.substr(0, target.find(':')).c_str(), &address.sin_addr);
    fd_ = socket(AF_INET, SOCK_STREAM, 0);
    ok_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    const int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    Send(kConnect);
  }
  ~NatsConnection() { close(fd_); }
  NatsConnection(const NatsConnection&) = delete;
  NatsConnection& operator=(const NatsConnection&) = delete;

  int fd() const { return fd_; }
  bool ok() const { return ok_; }

  void Send(std::string_view text) {
    while (ok_ && !text.empty()) {
      const ssize_t sent = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      ok_ = sent > 0;
      if (ok_) text.remove_prefix(sent);
    }
  }

  // Takes what has come; waits for it on a blocking socket.
  void Receive() {
    char part[65536];
    const ssize_t got = recv(fd_, part, sizeof(part), 0);
    const int64_t now = NowNanoseconds();
    if (got <= 0) {
      ok_ = false;
      return;
    }
    text_.append(part, got);
    size_t done = 0;
    while (const size_t size = OneMessage(std::string_view(text_).substr(done), now)) done += size;
    text_.erase(0, done);
  }

 private:
  // The size of the message that `text` begins with; 0 if it is not complete.
  size_t OneMessage(std::string_view text, int64_t now) {
    const size_t line = text.find("\r\n");
    if (line == std::string_view::npos) return 0;
    if (text.starts_with("PING")) Send("PONG\r\n");
    if (text.starts_with("PONG")) receipts_.AddReady();
    if (text.starts_with("-ERR")) receipts_.AddEnded();
    if (!text.starts_with("MSG ")) return line + 2;
    // MSG subject sid size
    size_t payload = 0;
    const std::string_view size = text.substr(0, line).substr(text.rfind(' ', line) + 1);
    if (!absl::SimpleAtoi(absl::string_view(size.data(), size.size()), &payload)) return 0;
    const size_t whole = line + 2 + payload + 2;
    if (text.size() < whole) return 0;
    receipts_.SetBytes(whole);
    receipts_.Add(now);
    return whole;
  }

  Receipts& receipts_;
  int fd_ = -1;
  bool ok_ = false;
  std::string text_;
};

// Reads a part of the connections until told to stop.
void ReadOn(const std::vector<std::unique_ptr<NatsConnection>>& connections, int part,
            const std::atomic<bool>& stop, Receipts& receipts) {
  const int poll = epoll_create1(0);
  for (size_t i = part; i < connections.size(); i += kThreads) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = connections[i].get();
    epoll_ctl(poll, EPOLL_CTL_ADD, connections[i]->fd(), &event);
  }
  while (!stop) {
    epoll_event events[64];
    const int count = epoll_wait(poll, events, 64, 100);
    for (int i = 0; i < count; ++i) {
      auto& connection = *static_cast<NatsConnection*>(events[i].data.ptr);
      connection.Receive();
      if (connection.ok()) continue;
      receipts.AddEnded();
      epoll_ctl(poll, EPOLL_CTL_DEL, connection.fd(), nullptr);
    }
  }
  close(poll);
}

class Readers {
 public:
  Readers(const std::vector<std::unique_ptr<NatsConnection>>& connections, Receipts& receipts) {
    for (int part = 0; part < kThreads; ++part) {
      threads_.emplace_back([&, part] { ReadOn(connections, part, stop_, receipts); });
    }
  }
  ~Readers() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

std::string Publication(const PeerOptions& options, int change) {
  std::string value(options.value_bytes, 'v');
  value.replace(0, 7, std::to_string(1'000'000 + change));
  return absl::StrCat("PUB ", options.key, " ", value.size(), "\r\n", value, "\r\n");
}

}  // namespace

bool RunNats(const PeerOptions& options) {
  const ChangesOptions changes{options.pid, options.subscriptions, options.subscriptions,
                               options.changes};
  Receipts receipts(options.subscriptions);
  NatsConnection publisher(options.target, receipts);
  const MakeChange make = [&](int change) -> std::optional<int64_t> {
    const int64_t start = NowNanoseconds();
    publisher.Send(Publication(options, change));
    if (!publisher.ok()) return std::nullopt;
    return start;
  };
  const int64_t memory_before = ResidentBytes(options.pid);
  std::vector<std::unique_ptr<NatsConnection>> connections;
  for (int i = 0; i < options.connections; ++i) {
    connections.push_back(std::make_unique<NatsConnection>(options.target, receipts));
  }
  for (int i = 0; i < options.subscriptions; ++i) {
    connections[i % connections.size()]->Send(absl::StrCat("SUB ", options.key, " ", i, "\r\n"));
  }
  // Its answer says that the server has taken what came before it.
  for (auto& connection : connections) connection->Send("PING\r\n");
  Readers readers(connections, receipts);
  if (!receipts.AwaitReady(options.connections)) {
    std::cerr << "NATS did not take the subscriptions\n";
    return false;
  }
  const auto memory = static_cast<double>(ResidentBytes(options.pid) - memory_before);
  ChangesResult result = MeasureChanges(changes, receipts, make);
  result.bytes_per_receiver = memory / options.subscriptions;
  std::cout << ToJson(changes, receipts, result) << std::endl;
  return result.complete;
}

}  // namespace finetune::bench
