#include "tests/bench/http_answer.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace finetune::bench {

bool HttpAnswer::Take(std::string_view bytes) {
  if (has_head_ && !chunked_) {
    body_.append(bytes);
  } else {
    text_.append(bytes);
    if (!has_head_ && !TakeHead()) return false;
    if (!has_head_) return true;
    if (chunked_) return TakeChunks();
    body_.append(std::exchange(text_, std::string()));
  }
  complete_ = body_.size() == length_;
  return body_.size() <= length_;
}

bool HttpAnswer::TakeHead() {
  const size_t end = text_.find("\r\n\r\n");
  if (end == std::string::npos) return true;
  bool has_length = false;
  const std::string head = text_.substr(0, end);
  text_.erase(0, end + 4);
  has_head_ = true;
  if (head.size() < 12 || !absl::SimpleAtoi(head.substr(9, 3), &code_)) return false;
  for (absl::string_view line : absl::StrSplit(head, "\r\n")) {
    const std::string lower = absl::AsciiStrToLower(line);
    if (absl::StartsWith(lower, "content-length:"))
      has_length = absl::SimpleAtoi(lower.substr(15), &length_);
    if (absl::StartsWith(lower, "transfer-encoding:"))
      chunked_ = absl::StrContains(lower, "chunked");
  }
  if (has_length && !chunked_) body_.reserve(length_);
  return has_length || chunked_;
}

bool HttpAnswer::TakeChunks() {
  size_t at = 0;
  while (!complete_) {
    const size_t line_end = text_.find("\r\n", at);
    if (line_end == std::string::npos) break;
    const size_t size = std::strtoul(text_.c_str() + at, nullptr, 16);
    if (text_.size() < line_end + 2 + size + 2) break;
    body_.append(text_, line_end + 2, size);
    at = line_end + 2 + size + 2;
    complete_ = size == 0;
  }
  text_.erase(0, at);
  return true;
}

}  // namespace finetune::bench
