#include "server/http/answer_head.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"

namespace finetune {

bool AnswerHead::Take(absl::string_view line) {
  bytes_ += line.size();
  ++lines_;
  if (too_long()) return false;
  if (complete_) return true;  // A trailer.
  if (absl::StartsWith(line, "HTTP/")) {
    // A 1xx may have come before.
    answer_.code = 0;
    answer_.headers.clear();
    const size_t space = line.find(' ');
    if (space != line.npos && !absl::SimpleAtoi(line.substr(space + 1, 3), &answer_.code))
      answer_.code = 0;
    return true;
  }
  if (const size_t colon = line.find(':'); colon != line.npos) {
    answer_.headers.emplace_back(
        absl::AsciiStrToLower(absl::StripAsciiWhitespace(line.substr(0, colon))),
        std::string(absl::StripAsciiWhitespace(line.substr(colon + 1))));
    return true;
  }
  complete_ = absl::StripAsciiWhitespace(line).empty() && answer_.code >= 200;
  return true;
}

}  // namespace finetune
