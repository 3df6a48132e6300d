#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tests/emulator/call_log.h"
#include "tests/emulator/http.h"
#include "tests/emulator/timer.h"
#include "tests/emulator/wire_writer.h"

struct MHD_Connection;
struct MHD_Daemon;

namespace finetune::emulator {

// The listener. A few threads serve all connections: an answer that is delayed, stalled or slow
// suspends its connection and holds up nobody else. Owned by main, which calls Listen, Start and
// Stop from one thread; the handler is called from any.
class HttpServer {
 public:
  using Handler = std::function<Answer(const Request&)>;

  // Bodies of uploads go to nameless files in `folder`. `log` must outlive the server.
  HttpServer(std::string folder, CallLog* log) : folder_(std::move(folder)), log_(log) {}
  ~HttpServer() { Stop(); }

  // Takes the address. Returns what went wrong, or an empty string.
  std::string Listen(const std::string& host, uint16_t port);
  // The real port, also if 0 was asked for.
  uint16_t port() const { return port_; }
  std::string Start(Handler handler, int threads);
  // Cuts what is still being answered.
  void Stop();

  class Exchange;

 private:
  friend class Exchange;

  const std::string folder_;
  CallLog* const log_;
  std::atomic<bool> stopping_{false};
  Timer timer_;
  WireWriter wire_writer_;
  Handler handler_;
  uint16_t port_ = 0;
  int socket_ = -1;
  MHD_Daemon* daemon_ = nullptr;
};

}  // namespace finetune::emulator
