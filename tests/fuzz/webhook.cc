#include "server/segmind/webhook_event.h"
#include "tests/fuzz/fuzz.h"

namespace finetune {

void Fuzz(std::string_view input) {
  const std::optional<WebhookEvent> event = ParseWebhook(input);
  if (event) CHECK(!event->id.empty() && IsValid(event->id) && IsValid(event->status));
}

}  // namespace finetune
