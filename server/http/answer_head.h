#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"
#include "server/http/http_client.h"

namespace finetune {

// The head of an answer, as curl delivers it line by line. Everything but the body counts against
// one bound, also the 1xx that may come first and trailers, either of which could go on for ever.
// Not thread-safe.
class AnswerHead {
 public:
  static constexpr size_t kMaxBytes = size_t{64} << 10;
  static constexpr size_t kMaxLines = 400;

  // False once there is too much; curl must then give up.
  bool Take(absl::string_view line);

  // Whether this was the last line of the head of the answer itself.
  bool complete() const { return complete_; }
  bool too_long() const { return bytes_ > kMaxBytes || lines_ > kMaxLines; }
  // The code and the headers; trailers are not among them.
  HttpResponse& answer() { return answer_; }
  const HttpResponse& answer() const { return answer_; }

 private:
  HttpResponse answer_;
  bool complete_ = false;
  size_t bytes_ = 0;
  size_t lines_ = 0;
};

}  // namespace finetune
