#pragma once

#include <string>
#include <string_view>

namespace finetune::bench {

// Takes an HTTP/1.1 answer as it comes; for answers with a Content-Length or in chunks.
class HttpAnswer {
 public:
  // False if this cannot be an answer.
  bool Take(std::string_view bytes);
  bool complete() const { return complete_; }
  int code() const { return code_; }
  // Once complete.
  const std::string& body() const { return body_; }
  void Clear() { *this = HttpAnswer(); }

 private:
  bool TakeHead();
  bool TakeChunks();

  std::string text_;  // What is not understood yet: the head, or chunks.
  std::string body_;
  bool has_head_ = false;
  bool chunked_ = false;
  bool complete_ = false;
  size_t length_ = 0;
  int code_ = 0;
};

}  // namespace finetune::bench
