#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace finetune {

struct WebRequest {
  std::string_view method;
  std::string_view path;  // Decoded, without the query.
  std::string_view body = {};
  // The body exceeds the server's limit; `body` is empty then.
  bool body_too_long = false;
};

struct WebReply {
  int code = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers = {};
};

// What answers the requests of an HttpServer, on several threads at once.
class WebDoor {
 public:
  virtual ~WebDoor() = default;

  // Looks at a request before its body is read. A reply answers it; nullopt: its body is wanted.
  virtual std::optional<WebReply> Judge(const WebRequest& request) = 0;
  // Answers a request that Judge let through, with its body.
  virtual WebReply Take(const WebRequest& request) = 0;
};

}  // namespace finetune
