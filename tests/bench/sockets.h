#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace finetune::bench {

// A TCP connection whose bytes are looked at as they come. Sending is for one thread at a time, and
// so is receiving.
class Socket {
 public:
  // `target`: ADDRESS:PORT, IPv4.
  explicit Socket(const std::string& target);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  bool ok() const { return ok_; }
  int fd() const { return fd_; }
  // Waits until all is with the kernel.
  void Send(std::string_view bytes);

  // Takes what has come, after what was left over. `parse` is given all that is there and when it
  // came, and says how much of it was whole.
  using Parse = std::function<size_t(std::string_view bytes, int64_t now)>;
  void Receive(const Parse& parse);

 private:
  int fd_ = -1;
  std::atomic<bool> ok_{false};
  std::string left_;
};

// Threads that receive on sockets until their destruction, as many as gRPC's client has on two
// cores. A socket that ends is dropped, and `on_end` called.
class SocketReaders {
 public:
  struct Entry {
    Socket* socket;
    Socket::Parse parse;
  };
  SocketReaders(std::vector<Entry> entries, std::function<void()> on_end);
  ~SocketReaders();

 private:
  void Run(size_t part);

  const std::vector<Entry> entries_;
  const std::function<void()> on_end_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

}  // namespace finetune::bench
