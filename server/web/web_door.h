#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/web/http_head.h"
#include "server/web/web_stream.h"

namespace finetune {

// A request as a door sees it. Valid during the call that it is passed to.
struct WebRequest {
  std::string_view method;
  std::string_view path;  // Decoded, without the query.
  std::string_view body = {};
  // The body exceeds the server's limit; `body` is empty then.
  bool body_too_long = false;
  std::string_view query = {};     // As it was sent, without '?'.
  const HttpHead* head = nullptr;  // Null if the request did not come from a connection.

  // The value of a header, or "" if it was not sent; `name` is in lower case.
  std::string_view Header(std::string_view name) const {
    const std::string* value = head == nullptr ? nullptr : head->Find(name);
    return value == nullptr ? std::string_view() : *value;
  }
};

// A door's answer to a request.
struct WebReply {
  int code = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string cache_control = "no-store";
  // Follows the head instead of `body`; the connection ends with it.
  std::shared_ptr<WebStream> stream = nullptr;
};

// Answers the requests of an HttpServer. Called on several threads at once; outlives the server.
class WebDoor {
 public:
  virtual ~WebDoor() = default;

  // Looks at a request before its body is read. A reply answers it; nullopt asks for the body.
  virtual std::optional<WebReply> Judge(const WebRequest& request) = 0;
  // Answers a request that Judge let through, with its body.
  virtual WebReply Take(const WebRequest& request) = 0;
};

}  // namespace finetune
