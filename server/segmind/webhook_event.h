#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace finetune {

// What a webhook says, as far as it can be told: its shape is not documented.
struct WebhookEvent {
  std::string id;      // One of the names that Segmind has for the job.
  std::string status;  // Or the event's name; may be empty.
};

// Looks for an id (`finetune_id`, `request_id`, `id`) and a status (`status`, `event`,
// `event_type`, `type`) in the body's object and one level down. Nullopt if it is no JSON object
// or has no id. Segmind documents no shape.
std::optional<WebhookEvent> ParseWebhook(std::string_view body);

}  // namespace finetune
