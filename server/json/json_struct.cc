#include "server/json/json_struct.h"

#include <cmath>
#include <utility>

#include "server/base/error.h"

namespace finetune {
namespace {

constexpr std::string_view kMaxExactDigits = "9007199254740992";
constexpr std::string_view kMinExactDigits = "-9007199254740992";

using google::protobuf::ListValue;
using google::protobuf::Struct;
using google::protobuf::Value;

bool Convert(const JsonValue& value, StructBudget& budget, Value& out);

// Runs `body` one level further down; false if that is too deep.
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

// A whole number that a double cannot hold becomes text, because a Struct has only doubles.
bool ConvertNumber(const JsonValue& value, StructBudget& budget, Value& out) {
  if ((value.IsInt64() || value.IsUint64()) && std::abs(value.GetDouble()) >= kMaxExactWhole) {
    const std::optional<std::string> digits = TextOf(value);
    if (digits && *digits != kMaxExactDigits && *digits != kMinExactDigits)
      return ConvertText(*digits, budget, out.mutable_string_value());
  }
  out.set_number_value(value.GetDouble());
  return std::isfinite(value.GetDouble());
}

void ConvertArray(const JsonValue& array, StructBudget& budget, ListValue& out) {
  for (const JsonValue& item : array.GetArray()) {
    if (!Convert(item, budget, *out.add_values())) out.mutable_values()->RemoveLast();
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
      return ConvertNumber(value, budget, out);
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

}  // namespace

Struct ToStruct(const JsonValue& object, StructBudget& budget) {
  Struct out;
  AddMembers(object, budget, out);
  return out;
}

void AddMembers(const JsonValue& object, StructBudget& budget, Struct& out) {
  if (!object.IsObject()) return;
  Nested(budget, [&] {
    for (const auto& member : object.GetObject())
      AddToStruct(RawText(member.name), member.value, budget, out);
  });
}

bool AddToStruct(std::string_view name, const JsonValue& value, StructBudget& budget, Struct& out) {
  std::string key;
  if (!ConvertText(name, budget, &key)) return false;
  auto& fields = *out.mutable_fields();
  const auto [field, is_new] = fields.try_emplace(std::move(key));
  if (is_new) {
    if (Convert(value, budget, field->second)) return true;
    fields.erase(field);
    return false;
  }
  // What is already there stays if this does not fit.
  Value converted;
  if (!Convert(value, budget, converted)) return false;
  field->second = std::move(converted);
  return true;
}

void WriteJson(const Value& value, JsonWriter& writer) {
  switch (value.kind_case()) {
    case Value::kBoolValue:
      writer.Bool(value.bool_value());
      return;
    case Value::kNumberValue:
      return writer.Number(value.number_value());
    case Value::kStringValue:
      writer.String(value.string_value());
      return;
    case Value::kListValue:
      writer.StartArray();
      for (const Value& item : value.list_value().values()) WriteJson(item, writer);
      writer.EndArray();
      return;
    case Value::kStructValue:
      writer.StartObject();
      for (const auto& [name, member] : value.struct_value().fields()) {
        writer.Key(name);
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
