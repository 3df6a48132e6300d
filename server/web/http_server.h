#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/web/connection_queue.h"
#include "server/web/listeners.h"
#include "server/web/web_door.h"

namespace finetune {

// One HTTP/1.1 listener for small requests, with a few threads of its own. They ask the door,
// several at once; it may take a second. Whatever clients do, the connections, their time and their
// bodies are bounded: when there are too many connections, the one whose request is overdue the
// longest is cut off. Streams are not counted among them; a stream is cut off if its reader does
// not take in time what was sent. Thread-safe; owned by the gateway.
class HttpServer {
 public:
  struct Options {
    std::string host;
    int port = 0;               // 0: any.
    std::string name = "http";  // The name of its threads.
    int threads = 2;
    int max_connections = 256;
    // The time allowed between two requests, for a whole request, and for taking its answer.
    absl::Duration patience = absl::Seconds(10);
    size_t max_body_bytes = size_t{256} << 10;
  };

  // `door` outlives it. UNAVAILABLE, saying why, if it cannot listen.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const Options& options, WebDoor& door);
  // Stops, after it has finished the requests that are being answered.
  ~HttpServer();

  int port() const { return listeners_.port(); }

 private:
  class Loop;

  HttpServer(const Options& options, Listeners listeners);

  const Listeners listeners_;
  ConnectionQueue connections_;
  std::vector<std::unique_ptr<Loop>> loops_;
};

}  // namespace finetune
