#include "server/json/json_struct.h"

#include <cmath>
#include <utility>

#include "server/base/error.h"

namespace finetune {
namespace {

using google::protobuf::ListValue;
using google::protobuf::Struct;
using google::protobuf::Value;

// Whole doubles below this are exact as 64-bit integers.
constexpr double kMaxWhole = 9007199254740992.0;

bool Convert(const JsonValue& value, StructBudget& budget, Value& out);

// One level down: false if that is too deep.
template <typename Body>
bool Nested(StructBudget& budget, Body body) {
  if (budget.depth == 0) return false;
  --budget.depth;
  body();
  ++budget.depth;
  return true;
}

bool ConvertText(std::string_view text, StructBudget& budget, std::string* out) {
  *out = ValidUtf8(text, kMaxJsonString);
  if (out->size() > budget.bytes) return false;
  budget.bytes -= out->size();
  return true;
}

void ConvertArray(const JsonValue& array, StructBudget& budget, ListValue& out) {
  for (const JsonValue& item : array.GetArray()) {
    Value converted;
    if (Convert(item, budget, converted)) *out.add_values() = std::move(converted);
  }
}

bool Convert(const JsonValue& value, StructBudget& budget, Value& out) {
  if (budget.values == 0) return false;
  --budget.values;
  switch (value.GetType()) {
    case rapidjson::kNullType:
      out.set_null_value(google::protobuf::NULL_VALUE);
      return true;
    case rapidjson::kFalseType:
    case rapidjson::kTrueType:
      out.set_bool_value(value.GetBool());
      return true;
    case rapidjson::kNumberType:
      out.set_number_value(value.GetDouble());
      return std::isfinite(value.GetDouble());
    case rapidjson::kStringType:
      return ConvertText(RawText(value), budget, out.mutable_string_value());
    case rapidjson::kArrayType:
      return Nested(budget, [&] { ConvertArray(value, budget, *out.mutable_list_value()); });
    case rapidjson::kObjectType:
      return Nested(budget, [&] {
        Struct* members = out.mutable_struct_value();
        for (const auto& member : value.GetObject())
          AddToStruct(RawText(member.name), member.value, budget, *members);
      });
  }
  return false;
}

void WriteNumber(double number, JsonWriter& writer) {
  if (!std::isfinite(number)) {
    writer.Null();
  } else if (number == std::trunc(number) && std::abs(number) <= kMaxWhole) {
    writer.Int64(static_cast<int64_t>(number));
  } else {
    writer.Double(number);
  }
}

}  // namespace

Struct ToStruct(const JsonValue& object, StructBudget& budget) {
  Struct out;
  if (!object.IsObject()) return out;
  Nested(budget, [&] {
    for (const auto& member : object.GetObject())
      AddToStruct(RawText(member.name), member.value, budget, out);
  });
  return out;
}

bool AddToStruct(std::string_view name, const JsonValue& value, StructBudget& budget, Struct& out) {
  std::string key;
  Value converted;
  if (!ConvertText(name, budget, &key) || !Convert(value, budget, converted)) return false;
  (*out.mutable_fields())[key] = std::move(converted);
  return true;
}

void WriteJson(const Value& value, JsonWriter& writer) {
  switch (value.kind_case()) {
    case Value::kBoolValue:
      writer.Bool(value.bool_value());
      return;
    case Value::kNumberValue:
      return WriteNumber(value.number_value(), writer);
    case Value::kStringValue:
      writer.String(value.string_value().data(),
                    static_cast<rapidjson::SizeType>(value.string_value().size()));
      return;
    case Value::kListValue:
      writer.StartArray();
      for (const Value& item : value.list_value().values()) WriteJson(item, writer);
      writer.EndArray();
      return;
    case Value::kStructValue:
      writer.StartObject();
      for (const auto& [name, member] : value.struct_value().fields()) {
        writer.Key(name.data(), static_cast<rapidjson::SizeType>(name.size()));
        WriteJson(member, writer);
      }
      writer.EndObject();
      return;
    case Value::kNullValue:
    case Value::KIND_NOT_SET:
      writer.Null();
  }
}

}  // namespace finetune
