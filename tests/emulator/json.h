#pragma once

// RapidJSON's stack adds to a null pointer when it is empty: harmless, but
// UndefinedBehaviorSanitizer ends the process for it.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wignored-attributes"
#pragma clang attribute push(__attribute__((no_sanitize("pointer-overflow"))), apply_to = function)
#endif
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang diagnostic pop
#endif

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace finetune::emulator {

// Nothing if `text` is not one JSON value, is not UTF-8, or nests deeper than 200.
std::optional<rapidjson::Document> ParseJson(std::string_view text);

std::string ToText(const rapidjson::Value& value);

// `text` as a JSON string, quotes included.
std::string Quoted(std::string_view text);

// The shortest text that reads back as `number`; whole numbers without a fraction.
std::string NumberText(double number);

// The member, or null if `object` is no object or has no such member.
const rapidjson::Value* Member(const rapidjson::Value& object, const char* name);
// The member if it is a string, else nothing.
std::optional<std::string> StringMember(const rapidjson::Value& object, const char* name);

// Builds the text of one JSON object in the order of the calls. Used by one thread.
class ObjectText {
 public:
  ObjectText& Add(std::string_view name, std::string_view value);
  ObjectText& Add(std::string_view name, const char* value) {
    return Add(name, std::string_view(value));
  }
  ObjectText& Add(std::string_view name, const std::optional<std::string>& value);
  ObjectText& Add(std::string_view name, const std::string& value) {
    return Add(name, std::string_view(value));
  }
  ObjectText& Add(std::string_view name, int64_t value) {
    return AddRaw(name, std::to_string(value));
  }
  ObjectText& AddBool(std::string_view name, bool value) {
    return AddRaw(name, value ? "true" : "false");
  }
  ObjectText& AddNumber(std::string_view name, double value) {
    return AddRaw(name, NumberText(value));
  }
  // `json` is already JSON.
  ObjectText& AddRaw(std::string_view name, std::string_view json);
  std::string Text() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

}  // namespace finetune::emulator
