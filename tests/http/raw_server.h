#pragma once

#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "server/base/mutex.h"

namespace finetune {

// One accepted connection, for a test to misbehave on. Used by one thread.
class RawConnection {
 public:
  explicit RawConnection(int fd) : fd_(fd) {}
  ~RawConnection() { Close(); }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  // The next request, head and body (Content-Length only); empty if the other side is gone.
  std::string ReadRequest();
  // Its head alone; the body is left to come.
  std::string ReadHead();
  // False if the other side is gone.
  bool Send(const std::string& text);
  void Answer(int code, const std::string& body, const std::string& more_headers = "");
  // Returns when the other side closes.
  void AwaitEnd();
  void Close();
  // Closes with RST instead of FIN.
  void Reset();

 private:
  std::string Read(bool body);

  int fd_;
  std::string buffered_;
};

// A server of raw bytes on 127.0.0.1: each connection gets a thread that runs `serve`.
class RawServer {
 public:
  explicit RawServer(std::function<void(RawConnection&)> serve);
  // Shuts connections down and waits for their threads.
  ~RawServer();

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  int connections() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Accept() ABSL_LOCKS_EXCLUDED(mu_);

  const std::function<void(RawConnection&)> serve_;
  int port_ = 0;
  const int listener_;
  mutable Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<int> open_ ABSL_GUARDED_BY(mu_);  // Duplicates, to shut them down from outside.
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mu_);
  std::thread accepter_;
};

// A port on which nobody listens.
int UnusedPort();

}  // namespace finetune
