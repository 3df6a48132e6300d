#include "server/access/json_message.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/json/json.h"

namespace finetune {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

absl::Status Bad(absl::string_view what) { return absl::InvalidArgumentError(what); }

// Whether any object in the value has a member twice.
bool HasAnythingTwice(const JsonValue& value) {
  if (value.IsArray())
    return std::any_of(value.Begin(), value.End(),
                       [](const JsonValue& element) { return HasAnythingTwice(element); });
  if (!value.IsObject()) return false;
  std::set<std::string_view> names;
  return std::any_of(value.MemberBegin(), value.MemberEnd(), [&](const auto& member) {
    return !names.insert(RawText(member.name)).second || HasAnythingTwice(member.value);
  });
}

const FieldDescriptor* FindField(const Descriptor& type, std::string_view name) {
  for (int i = 0; i < type.field_count(); ++i)
    if (type.field(i)->name() == name || type.field(i)->json_name() == name) return type.field(i);
  return nullptr;
}

absl::Status CheckTwice(const JsonValue& value, const Descriptor& type) {
  if (!value.IsObject()) return absl::OkStatus();  // Protobuf has taken it.
  std::set<const FieldDescriptor*> seen;
  for (auto member = value.MemberBegin(); member != value.MemberEnd(); ++member) {
    const FieldDescriptor* field = FindField(type, RawText(member->name));
    if (field == nullptr) continue;
    if (!seen.insert(field).second)
      return Bad(absl::StrCat("'", field->name(), "' is there twice"));
    // In maps, protobuf itself has looked for duplicates.
    if (field->is_map() || field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!member->value.IsArray()) {
      RETURN_IF_ERROR(CheckTwice(member->value, *field->message_type()));
      continue;
    }
    for (const JsonValue& element : member->value.GetArray())
      RETURN_IF_ERROR(CheckTwice(element, *field->message_type()));
  }
  return absl::OkStatus();
}

absl::Status CheckEnums(const Message& message) {
  const auto& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->is_map()) continue;
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        RETURN_IF_ERROR(CheckEnums(field->is_repeated()
                                       ? reflection.GetRepeatedMessage(message, field, i)
                                       : reflection.GetMessage(message, field)));
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
        const int number = field->is_repeated() ? reflection.GetRepeatedEnumValue(message, field, i)
                                                : reflection.GetEnumValue(message, field);
        if (field->enum_type()->FindValueByNumber(number) == nullptr)
          return Bad(absl::StrCat("'", field->name(), "' has no value ", number));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadJsonMessage(const std::string& json, Message& message) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = false;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &message, options);
  if (!status.ok()) {
    // The lines after the first quote the text. The first line may quote a value too, perhaps a
    // token where its SHA-256 belongs.
    std::string why(status.message());
    why.erase(std::min(why.find('\n'), why.size()));
    const size_t opening = why.find('"');
    const size_t closing = why.rfind('"');
    if (opening != closing) why.replace(opening, closing + 1 - opening, "(not shown)");
    return Bad(why);
  }
  JsonParser parser;
  const JsonValue* root = parser.Parse(json);
  if (root == nullptr)
    return Bad("it is no JSON: a comma too many, perhaps, or a name without quotes");
  RETURN_IF_ERROR(CheckTwice(*root, *message.GetDescriptor()));
  return CheckEnums(message);
}

bool ReadJsonObject(const std::string& json, google::protobuf::Struct& object) {
  JsonParser parser;
  const JsonValue* root = parser.Parse(json);
  return root != nullptr && root->IsObject() && !HasAnythingTwice(*root) &&
         google::protobuf::util::JsonStringToMessage(json, &object).ok();
}

}  // namespace finetune
