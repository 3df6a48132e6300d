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

struct WebRequest {
  std::string_view method;
  std::string_view path;  // Decoded, without the query.
  std::string_view body = {};
  // The body exceeds the server's limit; `body` is empty then.
  bool body_too_long = false;
  std::string_view query = {};     // As it was sent, without '?'.
  const HttpHead* head = nullptr;  // Null in a request that no connection brought.

  // The header's value, "" if it was not sent; `name` in lower case.
  std::string_view Header(std::string_view name) const {
    const std::string* value = head == nullptr ? nullptr : head->Find(name);
    return value == nullptr ? std::string_view() : *value;
  }
};

struct WebReply {
  int code = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string cache_control = "no-store";
  // What follows the head in place of `body`; the connection ends with it.
  std::shared_ptr<WebStream> stream = nullptr;
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
