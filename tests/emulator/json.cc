#include "tests/emulator/json.h"

#include <charconv>
#include <cmath>

namespace finetune::emulator {
namespace {

constexpr int kDeepest = 200;

// RapidJSON recurses as deep as the text nests, so a hostile body is refused before it is parsed.
bool NestsTooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kDeepest) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace

std::optional<rapidjson::Document> ParseJson(std::string_view text) {
  if (NestsTooDeep(text)) return std::nullopt;
  rapidjson::Document document;
  document.Parse<rapidjson::kParseValidateEncodingFlag>(text.data(), text.size());
  if (document.HasParseError()) return std::nullopt;
  return document;
}

std::string ToText(const rapidjson::Value& value) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  value.Accept(writer);
  return std::string(buffer.GetString(), buffer.GetSize());
}

std::string Quoted(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(text.size() + 2);
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += kHex[(c >> 4) & 15];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  out += '"';
  return out;
}

std::string NumberText(double number) {
  char buffer[64];
  // Beyond 2^53 a double has no fraction, and a cast of what is larger still is undefined.
  if (std::abs(number) < 9e15 && number == std::trunc(number)) {
    return std::to_string(static_cast<int64_t>(number));
  }
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), number).ptr;
  return std::string(buffer, end);
}

const rapidjson::Value* Member(const rapidjson::Value& object, const char* name) {
  if (!object.IsObject()) return nullptr;
  const auto it = object.FindMember(name);
  return it == object.MemberEnd() ? nullptr : &it->value;
}

std::optional<std::string> StringMember(const rapidjson::Value& object, const char* name) {
  const rapidjson::Value* value = Member(object, name);
  if (value == nullptr || !value->IsString()) return std::nullopt;
  return std::string(value->GetString(), value->GetStringLength());
}

ObjectText& ObjectText::Add(std::string_view name, std::string_view value) {
  return AddRaw(name, Quoted(value));
}

ObjectText& ObjectText::Add(std::string_view name, const std::optional<std::string>& value) {
  return value ? Add(name, std::string_view(*value)) : AddRaw(name, "null");
}

ObjectText& ObjectText::AddRaw(std::string_view name, std::string_view json) {
  if (text_.size() > 1) text_ += ',';
  text_ += Quoted(name);
  text_ += ':';
  text_ += json;
  return *this;
}

}  // namespace finetune::emulator
