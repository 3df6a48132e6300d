#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/json/json.h"

namespace finetune {

// Writes one JSON text, in the order of the calls. Not thread-safe.
class JsonWriter {
 public:
  JsonWriter() : writer_(buffer_) {}
  JsonWriter(const JsonWriter&) = delete;
  JsonWriter& operator=(const JsonWriter&) = delete;

  void StartObject() { writer_.StartObject(); }
  void EndObject() { writer_.EndObject(); }
  void StartArray() { writer_.StartArray(); }
  void EndArray() { writer_.EndArray(); }
  void Key(std::string_view name) { writer_.Key(name.data(), SizeOf(name)); }
  void String(std::string_view text) { writer_.String(text.data(), SizeOf(text)); }
  void Bool(bool value) { writer_.Bool(value); }
  void Null() { writer_.Null(); }
  void Integer(int64_t value) { writer_.Int64(value); }
  // Whole numbers as integers: Segmind's parameters care. What is not finite is null.
  void Number(double value);

  std::string text() const { return {buffer_.GetString(), buffer_.GetSize()}; }

 private:
  static rapidjson::SizeType SizeOf(std::string_view text) {
    return static_cast<rapidjson::SizeType>(text.size());
  }

  rapidjson::StringBuffer buffer_;
  rapidjson::Writer<rapidjson::StringBuffer> writer_;
};

}  // namespace finetune
