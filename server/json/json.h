#pragma once

// RapidJSON, always included through here so that every file is built with the same vector
// instructions: this x86-64 baseline has SSE2, and mixed settings would break the one-definition
// rule. (Debian's RapidJSON 1.1.0 has no NEON.)
#if defined(__SSE2__) && !defined(RAPIDJSON_SSE2)
#define RAPIDJSON_SSE2
#endif

// RapidJSON's stack adds to a null pointer when it is empty: harmless, but
// UndefinedBehaviorSanitizer ends the process for it.
#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wignored-attributes"
#pragma clang attribute push(__attribute__((no_sanitize("pointer-overflow"))), apply_to = function)
#endif
#include <rapidjson/document.h>
#include <rapidjson/reader.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang diagnostic pop
#endif

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace finetune {

using JsonValue = rapidjson::Value;

// Whole numbers up to this one, 2^53, are exact as doubles.
inline constexpr double kMaxExactWhole = 9007199254740992.0;

// A string of Segmind's longer than this is cut.
inline constexpr size_t kMaxJsonString = size_t{64} << 10;

// Parses one text after another into a tree, reusing its memory. Deep nesting is refused, so that
// no input uses up the stack. Not thread-safe.
class JsonParser {
 public:
  JsonParser();
  JsonParser(const JsonParser&) = delete;
  JsonParser& operator=(const JsonParser&) = delete;

  // The value, good until the next Parse; null if `text` is not exactly one JSON value, save for a
  // byte order mark and white space. NaN and Infinity are taken for numbers, as Python writes them;
  // encodings are not checked (TextOf mends them), but the first half of a surrogate pair alone is
  // replaced. A whole number that 64 bits cannot hold comes out as a string of its digits.
  const JsonValue* Parse(std::string_view text);
  // Whether the last Parse gave up on nesting or on a number too big to hold, not on bad syntax.
  bool refused() const { return refused_; }

 private:
  // The stack that it is built on is pooled as well.
  using Document = rapidjson::GenericDocument<rapidjson::UTF8<>, rapidjson::MemoryPoolAllocator<>,
                                              rapidjson::MemoryPoolAllocator<>>;
  class DepthGuard;

  void Load(std::string_view text);
  bool ParsePlain();
  template <unsigned kMoreFlags>
  rapidjson::ParseErrorCode ParseLoaded(bool& has_big);
  rapidjson::ParseErrorCode ParseAll(std::string_view text);

  std::vector<char> pool_;
  rapidjson::MemoryPoolAllocator<> allocator_;
  std::vector<char> stack_pool_;
  rapidjson::MemoryPoolAllocator<> stack_allocator_;
  Document document_;
  std::vector<char> text_;  // What is parsed, in place.
  bool refused_ = false;
};

// These read a value that may have the wrong type; nullopt if nothing sensible can be made of it.
// Strings are valid UTF-8 of at most kMaxJsonString bytes; numbers and booleans become text.
std::optional<std::string> TextOf(const JsonValue& value);
// Also "True", "yes", "1" and numbers.
std::optional<bool> BoolOf(const JsonValue& value);
// Whole numbers in range, also as text or with a zero fraction.
std::optional<int32_t> Int32Of(const JsonValue& value);
// Finite numbers, also as text.
std::optional<double> DoubleOf(const JsonValue& value);
// A text or number as time_text.h says, or an object around one, such as {"$date": …}.
std::optional<absl::Time> TimeOf(const JsonValue& value);

// `object`'s member; null if `object` is no object, or has no such member, or has it as null.
const JsonValue* MemberOf(const JsonValue& object, std::string_view name);

inline std::string_view RawText(const JsonValue& string) {
  return {string.GetString(), string.GetStringLength()};
}

}  // namespace finetune
