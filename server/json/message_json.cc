#include "server/json/message_json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/reflection.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "server/base/time_proto.h"
#include "server/json/json_struct.h"

namespace finetune {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void WriteTime(const google::protobuf::Timestamp& time, JsonWriter& writer) {
  writer.String(absl::FormatTime("%Y-%m-%dT%H:%M:%E*SZ", FromProto(time), absl::UTCTimeZone()));
}

void WriteDuration(const google::protobuf::Duration& duration, JsonWriter& writer) {
  const bool is_negative = duration.seconds() < 0 || duration.nanos() < 0;
  std::string text = absl::StrFormat("%s%d.%09d", is_negative ? "-" : "",
                                     std::abs(duration.seconds()), std::abs(duration.nanos()));
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  writer.String(text + "s");
}

void WriteStruct(const google::protobuf::Struct& members, JsonWriter& writer) {
  writer.StartObject();
  for (const auto& [name, value] : members.fields()) {
    writer.Key(name);
    WriteJson(value, writer);
  }
  writer.EndObject();
}

void WriteAny(const Message& message, JsonWriter& writer) {
  const auto* descriptor = message.GetDescriptor();
  if (descriptor == google::protobuf::Timestamp::descriptor())
    WriteTime(static_cast<const google::protobuf::Timestamp&>(message), writer);
  else if (descriptor == google::protobuf::Duration::descriptor())
    WriteDuration(static_cast<const google::protobuf::Duration&>(message), writer);
  else if (descriptor == google::protobuf::Struct::descriptor())
    WriteStruct(static_cast<const google::protobuf::Struct&>(message), writer);
  else if (descriptor == google::protobuf::Value::descriptor())
    WriteJson(static_cast<const google::protobuf::Value&>(message), writer);
  else
    WriteMessage(message, writer);
}

void WriteEnum(const FieldDescriptor* field, int number, JsonWriter& writer) {
  const auto* value = field->enum_type()->FindValueByNumber(number);
  if (value == nullptr)
    writer.Integer(number);
  else
    writer.String(value->name());
}

// The value of a field that is not repeated, or element `i` of one that is.
class OneValue {
 public:
  OneValue(const Message& message, const FieldDescriptor* field, int i)
      : message_(message), reflection_(*message.GetReflection()), field_(field), i_(i) {}

  // 64-bit numbers are text in JSON, whose readers have doubles.
  void Write(JsonWriter& writer) const {
    switch (field_->cpp_type()) {
      case FieldDescriptor::CPPTYPE_INT32:
        return writer.Integer(Get(&Reflection::GetInt32, &Reflection::GetRepeatedInt32));
      case FieldDescriptor::CPPTYPE_UINT32:
        return writer.Integer(Get(&Reflection::GetUInt32, &Reflection::GetRepeatedUInt32));
      case FieldDescriptor::CPPTYPE_INT64:
        return WriteText(Get(&Reflection::GetInt64, &Reflection::GetRepeatedInt64), writer);
      case FieldDescriptor::CPPTYPE_UINT64:
        return WriteText(Get(&Reflection::GetUInt64, &Reflection::GetRepeatedUInt64), writer);
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return writer.Number(Get(&Reflection::GetDouble, &Reflection::GetRepeatedDouble));
      case FieldDescriptor::CPPTYPE_FLOAT:
        return writer.Number(Get(&Reflection::GetFloat, &Reflection::GetRepeatedFloat));
      case FieldDescriptor::CPPTYPE_BOOL:
        return writer.Bool(Get(&Reflection::GetBool, &Reflection::GetRepeatedBool));
      case FieldDescriptor::CPPTYPE_ENUM:
        return WriteEnum(field_, Get(&Reflection::GetEnumValue, &Reflection::GetRepeatedEnumValue),
                         writer);
      case FieldDescriptor::CPPTYPE_STRING:
        return writer.String(String());
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return WriteAny(field_->is_repeated() ? reflection_.GetRepeatedMessage(message_, field_, i_)
                                              : reflection_.GetMessage(message_, field_),
                        writer);
    }
  }

  const std::string& String() const {
    return field_->is_repeated()
               ? reflection_.GetRepeatedStringReference(message_, field_, i_, &scratch_)
               : reflection_.GetStringReference(message_, field_, &scratch_);
  }

 private:
  template <typename T>
  T Get(T (Reflection::*single)(const Message&, const FieldDescriptor*) const,
        T (Reflection::*repeated)(const Message&, const FieldDescriptor*, int) const) const {
    return field_->is_repeated() ? (reflection_.*repeated)(message_, field_, i_)
                                 : (reflection_.*single)(message_, field_);
  }
  static void WriteText(int64_t value, JsonWriter& writer) { writer.String(absl::StrCat(value)); }
  static void WriteText(uint64_t value, JsonWriter& writer) { writer.String(absl::StrCat(value)); }

  const Message& message_;
  const Reflection& reflection_;
  const FieldDescriptor* const field_;
  const int i_;
  mutable std::string scratch_;
};

void WriteRepeated(const Message& message, const FieldDescriptor* field, JsonWriter& writer) {
  const int size = message.GetReflection()->FieldSize(message, field);
  if (!field->is_map()) {
    writer.StartArray();
    for (int i = 0; i < size; ++i) OneValue(message, field, i).Write(writer);
    writer.EndArray();
    return;
  }
  writer.StartObject();
  for (int i = 0; i < size; ++i) {
    const Message& entry = message.GetReflection()->GetRepeatedMessage(message, field, i);
    writer.Key(OneValue(entry, entry.GetDescriptor()->map_key(), 0).String());
    OneValue(entry, entry.GetDescriptor()->map_value(), 0).Write(writer);
  }
  writer.EndObject();
}

}  // namespace

void WriteMessage(const Message& message, JsonWriter& writer) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  writer.StartObject();
  for (const FieldDescriptor* field : fields) {
    writer.Key(field->json_name());
    if (field->is_repeated())
      WriteRepeated(message, field, writer);
    else
      OneValue(message, field, 0).Write(writer);
  }
  writer.EndObject();
}

}  // namespace finetune
