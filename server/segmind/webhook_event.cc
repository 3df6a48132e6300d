#include "server/segmind/webhook_event.h"

#include <rapidjson/document.h>

#include "server/base/error.h"

namespace finetune {
namespace {

constexpr const char* kIdNames[] = {"finetune_id", "request_id", "id"};
constexpr const char* kStatusNames[] = {"status", "event", "event_type", "type"};
constexpr size_t kMaxText = 256;

std::string TextOf(const rapidjson::Value& value) {
  if (value.IsString() && value.GetStringLength() <= kMaxText)
    return ValidUtf8({value.GetString(), value.GetStringLength()});
  if (value.IsUint64()) return std::to_string(value.GetUint64());
  return "";
}

template <size_t kCount>
std::string FirstOf(const rapidjson::Value& object, const char* const (&names)[kCount]) {
  for (const char* name : names) {
    const auto member = object.FindMember(name);
    if (member == object.MemberEnd()) continue;
    if (std::string text = TextOf(member->value); !text.empty()) return text;
  }
  return "";
}

// On the object itself, else in the first of its objects that has one.
template <size_t kCount>
std::string Search(const rapidjson::Value& object, const char* const (&names)[kCount]) {
  std::string found = FirstOf(object, names);
  for (auto member = object.MemberBegin(); found.empty() && member != object.MemberEnd(); ++member)
    if (member->value.IsObject()) found = FirstOf(member->value, names);
  return found;
}

}  // namespace

std::optional<WebhookEvent> ParseWebhook(std::string_view body) {
  rapidjson::Document document;
  // Iterative: deep nesting must not use up the stack.
  document.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseStopWhenDoneFlag>(body.data(),
                                                                                     body.size());
  if (document.HasParseError()) return std::nullopt;
  const rapidjson::Value* object = &document;
  if (document.IsArray() && document.Size() == 1) object = &document[0];
  if (!object->IsObject()) return std::nullopt;
  WebhookEvent event{.id = Search(*object, kIdNames), .status = Search(*object, kStatusNames)};
  if (event.id.empty()) return std::nullopt;
  return event;
}

}  // namespace finetune
