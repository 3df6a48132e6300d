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

// One HTTP/1.1 listener with a few threads of its own, for small requests. The door is asked on
// them, several at once, and may take a second. Whatever clients do, connections, their time and
// their bodies are bounded; where there are too many connections, the one is cut off that has
// waited for longest with its request. Streams are not counted among them; one is cut off whose
// reader does not take in time what it was told.
class HttpServer {
 public:
  struct Options {
    std::string host;
    int port = 0;               // 0: any.
    std::string name = "http";  // Of its threads.
    int threads = 2;
    int max_connections = 256;
    // From one request to the next, for a whole request, and for taking its answer.
    absl::Duration patience = absl::Seconds(10);
    size_t max_body_bytes = size_t{256} << 10;
  };

  // `door` outlives it. UNAVAILABLE, saying why, if it cannot listen.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const Options& options, WebDoor& door);
  // Stops; requests that are being answered are answered first.
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
