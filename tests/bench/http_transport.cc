#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <future>
#include <iostream>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/bench/http_answer.h"
#include "tests/bench/transport.h"

namespace finetune::bench {
namespace {

class HttpTransport : public Transport {
 public:
  explicit HttpTransport(const CallsOptions& options)
      : options_(options), epoll_(epoll_create1(0)), stop_(eventfd(0, 0)) {
    request_ = absl::StrCat("GET ", options.path, " HTTP/1.1\r\nHost: ", options.target, "\r\n");
    for (const std::string& header : options.headers) absl::StrAppend(&request_, header, "\r\n");
    absl::StrAppend(&request_, "\r\n");
    Watch(stop_, nullptr);
    for (int i = 0; i < options.connections; ++i) {
      connections_.push_back(std::make_unique<Connection>());
      Connect(*connections_.back());
      idle_.push_back(connections_.back().get());
    }
    thread_ = std::thread([this] { Run(); });
  }

  ~HttpTransport() override {
    const uint64_t one = 1;
    if (write(stop_, &one, sizeof one) < 0) std::abort();
    thread_.join();
    for (auto& connection : connections_) close(connection->socket);
    close(stop_);
    close(epoll_);
  }

  size_t answer_bytes() const override { return first_.size(); }

  bool CheckFirst() override {
    std::promise<bool> ended;
    checking_ = true;
    Start([&](Answer answer) { ended.set_value(answer == Answer::kGood); });
    const bool good = ended.get_future().get() && !first_.empty();
    checking_ = false;
    if (!good) std::cerr << "the first call failed: HTTP " << first_code_ << ", " << first_ << "\n";
    return good;
  }

  void Start(Done done) override {
    Connection* connection = nullptr;
    {
      std::lock_guard lock(mu_);
      if (idle_.empty()) {
        waiting_.push_back(std::move(done));
        return;
      }
      connection = idle_.front();
      idle_.pop_front();
    }
    Send(*connection, std::move(done));
  }

 private:
  struct Connection {
    int socket = -1;
    Done done;
    HttpAnswer answer;
  };

  void Watch(int descriptor, Connection* connection) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = connection;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event);
  }

  void Connect(Connection& connection) const {
    const std::vector<std::string> parts = absl::StrSplit(options_.target, ':');
    int port = 0;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    connection.socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(connection.socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (parts.size() != 2 || !absl::SimpleAtoi(parts[1], &port) ||
        inet_pton(AF_INET, parts[0].c_str(), &address.sin_addr) != 1) {
      std::cerr << "the target must be ADDRESS:PORT\n";
      std::exit(2);
    }
    address.sin_port = htons(static_cast<uint16_t>(port));
    if (connect(connection.socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
      std::cerr << "no connection to " << options_.target << "\n";
    Watch(connection.socket, &connection);
  }

  void Send(Connection& connection, Done done) const {
    connection.done = std::move(done);
    connection.answer.Clear();
    // Short enough for the socket's buffer. A connection that is gone shows when it is read.
    if (send(connection.socket, request_.data(), request_.size(), MSG_NOSIGNAL) < 0)
      shutdown(connection.socket, SHUT_RDWR);
  }

  void Run() {
    std::vector<epoll_event> events(256);
    while (true) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      for (int i = 0; i < count; ++i) {
        if (events[i].data.ptr == nullptr) return;
        Read(*static_cast<Connection*>(events[i].data.ptr));
      }
    }
  }

  void Read(Connection& connection) {
    const ssize_t size = recv(connection.socket, buffer_.data(), buffer_.size(), 0);
    const bool good = size > 0 && connection.done &&
                      connection.answer.Take({buffer_.data(), static_cast<size_t>(size)});
    if (good && !connection.answer.complete()) return;
    const Done done = std::exchange(connection.done, nullptr);
    const bool as_expected = good && IsExpected(connection.answer);
    if (!good) {
      close(connection.socket);
      Connect(connection);
    }
    if (!done) return;  // The server closed it while it was idle, and there it still is.
    Done next;
    {
      std::lock_guard lock(mu_);
      if (waiting_.empty()) {
        idle_.push_back(&connection);
      } else {
        next = std::move(waiting_.front());
        waiting_.pop_front();
      }
    }
    if (next) Send(connection, std::move(next));
    done(as_expected ? Answer::kGood : Answer::kWrong);
  }

  bool IsExpected(const HttpAnswer& answer) {
    if (checking_) {
      first_ = answer.body();
      first_code_ = answer.code();
    }
    return answer.code() == 200 && (options_.varying || answer.body() == first_);
  }

  const CallsOptions options_;
  const int epoll_;
  const int stop_;
  std::string request_;
  std::vector<std::unique_ptr<Connection>> connections_;

  // Set by the first call, alone.
  std::atomic<bool> checking_{false};
  std::string first_;
  int first_code_ = 0;

  std::mutex mu_;
  // Guarded by mu_.
  std::deque<Connection*> idle_;
  std::deque<Done> waiting_;

  // Reader's thread only.
  std::vector<char> buffer_ = std::vector<char>(256 << 10);
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Transport> MakeHttpTransport(const CallsOptions& options) {
  return std::make_unique<HttpTransport>(options);
}

}  // namespace finetune::bench
