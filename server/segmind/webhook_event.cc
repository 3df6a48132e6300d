#include "server/segmind/webhook_event.h"

#include "server/json/json.h"
#include "server/segmind/upstream_job.h"

namespace finetune {
namespace {

constexpr std::string_view kIdNames[] = {"finetune_id", "request_id", "id"};
constexpr std::string_view kStatusNames[] = {"status", "event", "event_type", "type"};
constexpr size_t kMaxText = 256;

std::string ShortText(const JsonValue& value) {
  if (value.IsString() && value.GetStringLength() > kMaxText) return "";
  if (!value.IsString() && !value.IsUint64()) return "";
  return TextOf(value).value_or("");
}

bool IsStatus(std::string_view text) { return !text.empty(); }

// The first of the members that `fits`.
template <size_t kCount>
std::string FirstOf(const JsonValue& object, const std::string_view (&names)[kCount],
                    bool (&fits)(std::string_view)) {
  for (std::string_view name : names) {
    const JsonValue* member = MemberOf(object, name);
    if (member == nullptr) continue;
    if (std::string text = ShortText(*member); fits(text)) return text;
  }
  return "";
}

// Searches the object itself, then its inner objects, for the first that has one.
template <size_t kCount>
std::string Search(const JsonValue& object, const std::string_view (&names)[kCount],
                   bool (&fits)(std::string_view)) {
  std::string found = FirstOf(object, names, fits);
  for (auto member = object.MemberBegin(); found.empty() && member != object.MemberEnd(); ++member)
    found = FirstOf(member->value, names, fits);
  return found;
}

}  // namespace

std::optional<WebhookEvent> ParseWebhook(std::string_view body) {
  JsonParser parser;
  const JsonValue* object = parser.Parse(body);
  if (object != nullptr && object->IsArray() && object->Size() == 1) object = &(*object)[0];
  if (object == nullptr || !object->IsObject()) return std::nullopt;
  WebhookEvent event{.id = Search(*object, kIdNames, CanNameJob),
                     .status = Search(*object, kStatusNames, IsStatus)};
  if (event.id.empty()) return std::nullopt;
  return event;
}

}  // namespace finetune
