#include "server/web/webhook_door.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "server/base/log.h"
#include "tests/base/manual_clock.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {
namespace {

constexpr char kToken[] = "a-webhook-token-of-enough-characters";

// A door that counts what it passes on.
struct World {
  World() {
    SetLogLevel(LogLevel::kError);
    std::string path = "/tmp/fuzz-webhook-XXXXXX";
    close(mkstemp(path.data()));
    std::ofstream(path) << kToken << "\n";
    tokens = *WebhookTokens::Open(path, rereader);
    unlink(path.c_str());
    door = std::make_unique<WebhookDoor>(
        *tokens, [this](const std::string& id, const TraceContext&) { last = id, ++hints; }, clock,
        metrics, tracer);
  }

  ManualClock clock;
  Metrics metrics;
  FileRereader rereader{clock, metrics};
  Tracer tracer;
  std::unique_ptr<WebhookTokens> tokens;
  std::unique_ptr<WebhookDoor> door;
  std::string last;
  int hints = 0;
};

}  // namespace

// A line with the path behind /webhooks/segmind/ (empty: the right token), then the body.
void Fuzz(std::string_view input) {
  static auto* const world = new World;
  const size_t end = std::min(input.find('\n'), input.size());
  const std::string_view part = input.substr(0, end);
  const std::string path =
      std::string("/webhooks/segmind/") + (part.empty() ? kToken : std::string(part));
  input.remove_prefix(std::min(end + 1, input.size()));
  const int hints = world->hints;
  const auto judged = world->door->Judge({.method = "POST", .path = path});
  const WebReply reply =
      judged ? *judged : world->door->Take({.method = "POST", .path = path, .body = input});
  if (!part.empty() && part != kToken) {
    CHECK(reply.code == 404 && world->hints == hints);
    return;
  }
  CHECK(reply.code == 200);
  CHECK(world->hints == hints + 1 && IsValid(world->last));
}

}  // namespace finetune
