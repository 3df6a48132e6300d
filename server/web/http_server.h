#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/web/connection_queue.h"

struct MHD_Daemon;

namespace finetune {

struct WebRequest {
  std::string_view method;
  std::string_view path;  // Decoded, without the query.
  std::string_view body;
  // The body exceeds the server's limit; `body` is empty then.
  bool body_too_long = false;
};

struct WebReply {
  int code = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
  std::string allow;  // For 405.
};

// One HTTP listener with a few threads of libmicrohttpd's, for small requests. The handler runs on
// them, several at once. Whatever clients do, connections, their idle time and their bodies are
// bounded; where there are too many connections, the one is cut off that has waited for longest
// with its request.
class HttpServer {
 public:
  using Handler = std::function<WebReply(const WebRequest&)>;
  struct Options {
    std::string host;
    int port = 0;  // 0: any.
    int threads = 2;
    int max_connections = 256;
    absl::Duration idle_timeout = absl::Seconds(10);
    size_t max_body_bytes = size_t{256} << 10;
  };

  // UNAVAILABLE, saying why, if it cannot listen.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(Options options, Handler handler);
  // Stops; requests under way are finished first.
  ~HttpServer();

  int port() const { return port_; }

 private:
  struct Call;
  struct Hooks;

  HttpServer(Options options, Handler handler);

  const Options options_;
  const Handler handler_;
  ConnectionQueue connections_;
  MHD_Daemon* daemon_ = nullptr;
  int port_ = 0;
};

}  // namespace finetune
