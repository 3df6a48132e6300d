#include "tests/emulator/wire.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace finetune::emulator {

std::string BodyText(const Answer& answer) {
  if (answer.source == nullptr) return answer.text != nullptr ? *answer.text : "";
  std::string body(answer.length, '\0');
  if (!answer.source->Read(answer.offset, body.data(), body.size())) return "";
  return body;
}

std::string WireHead(const Answer& answer) {
  std::string head = absl::StrCat("HTTP/1.1 ", answer.code,
                                  " Emulated\r\nContent-Type: ", answer.content_type, "\r\n");
  for (const auto& [name, value] : answer.headers) {
    absl::StrAppend(&head, name, ": ", value, "\r\n");
  }
  return head;
}

std::string WireText(const Answer& answer) {
  const std::string body = BodyText(answer);
  return absl::StrCat(WireHead(answer), "Content-Length: ", body.size(),
                      "\r\nConnection: close\r\n\r\n", body);
}

bool NeedsWire(const Answer& answer) {
  return std::any_of(answer.headers.begin(), answer.headers.end(), [](const auto& header) {
    return header.second.empty() ||
           std::any_of(header.second.begin(), header.second.end(),
                       [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; });
  });
}

}  // namespace finetune::emulator
