#include <vector>

#include "server/web/http_connection.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {
namespace {

constexpr size_t kLimit = 100;

// Wants the bodies of what begins with /b.
class CountingDoor : public WebDoor {
 public:
  std::optional<WebReply> Judge(const WebRequest& request) override {
    CHECK(request.path.find('\0') == request.path.npos);
    heard.push_back(std::string(request.method) + " " + std::string(request.path));
    if (request.path.starts_with("/b")) return std::nullopt;
    return WebReply{.code = 404};
  }
  WebReply Take(const WebRequest& request) override {
    CHECK(request.body.size() <= kLimit);
    heard.push_back(request.body_too_long ? "too long" : std::string(request.body));
    return {};
  }

  std::vector<std::string> heard;
};

// What a door hears of bytes that come in pieces of `step`, and whether the connection ends.
std::vector<std::string> Heard(std::string_view input, size_t step) {
  CountingDoor door;
  HttpConnection connection(door, kLimit);
  while (!input.empty() && !connection.closing()) {
    connection.Take(input.substr(0, step));
    input.remove_prefix(std::min(step, input.size()));
    while (!connection.output().empty()) {
      CHECK(connection.output().starts_with("HTTP/1.1 "));
      connection.output().clear();
      if (!connection.closing()) connection.Sent();
    }
  }
  door.heard.emplace_back(connection.closing() ? "end" : "on");
  return door.heard;
}

}  // namespace

// However the bytes come, the same is heard.
void Fuzz(std::string_view input) {
  if (input.size() > 4096) return;  // From there on limits are met sooner or later.
  const std::vector<std::string> whole = Heard(input, input.size() + 1);
  CHECK(Heard(input, 1) == whole);
  CHECK(Heard(input, 7) == whole);
}

}  // namespace finetune
