#include "server/json/json.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/json/plain_json.h"
#include "server/json/time_text.h"

namespace finetune {
namespace {

constexpr size_t kPoolBytes = size_t{32} << 10;
// Enough for a job; longer texts allocate.
constexpr size_t kStackBytes = size_t{4} << 10;
// The parser reads this far beyond the text.
constexpr size_t kVectorSlack = 16;
// What a pool needs for itself.
constexpr size_t kAllocatorBytes = 64;
// The parser recurses for each level: that takes a few hundred kilobytes of stack at most, and is a
// quarter faster than the iterative one.
constexpr int kMaxDepth = 512;

absl::string_view Trimmed(std::string_view text) {
  return absl::StripAsciiWhitespace(absl::string_view(text.data(), text.size()));
}

// The code unit for which `\\uXXXX` at `text` stands; -1 if it is no such escape.
int EscapedUnit(absl::string_view text) {
  uint32_t unit = 0;
  if (text.size() < 6 || !absl::StartsWith(text, "\\u") ||
      !absl::SimpleHexAtoi(text.substr(2, 4), &unit))
    return -1;
  return static_cast<int>(unit);
}

// Half of a surrogate pair, as in an emoji that was cut in two, stands for nothing: the replacement
// character takes its place.
void MendSurrogates(char* text, size_t size) {
  const absl::string_view whole(text, size);
  for (size_t i = whole.find('\\'); i < size; i = whole.find('\\', i)) {
    const int unit = EscapedUnit(whole.substr(i));
    if (unit < 0xd800 || unit > 0xdfff) {
      i += 2;
      continue;
    }
    const int next = EscapedUnit(whole.substr(i + 6));
    if (unit < 0xdc00 && next >= 0xdc00 && next <= 0xdfff) {
      i += 12;
      continue;
    }
    std::memcpy(text + i, "\\ufffd", 6);
    i += 6;
  }
}

}  // namespace

// Passes everything on to the document, and stops the parser if nesting is too deep.
class JsonParser::DepthGuard {
 public:
  explicit DepthGuard(Document& document) : document_(document) {}

  using Size = rapidjson::SizeType;
  bool Null() { return document_.Null(); }
  bool Bool(bool b) { return document_.Bool(b); }
  bool Int(int i) { return document_.Int(i); }
  bool Uint(unsigned i) { return document_.Uint(i); }
  bool Int64(int64_t i) { return document_.Int64(i); }
  bool Uint64(uint64_t i) { return document_.Uint64(i); }
  bool Double(double d) {
    has_big_ = has_big_ || std::abs(d) >= kBig;
    return document_.Double(d);
  }
  // Called only when numbers are parsed as strings. `s` ends where the text goes on.
  bool RawNumber(const char* s, Size n, bool) {
    const absl::string_view digits(s, n);
    int64_t whole = 0;
    uint64_t natural = 0;
    double number = 0;
    if (absl::SimpleAtoi(digits, &whole)) return document_.Int64(whole);
    if (absl::SimpleAtoi(digits, &natural)) return document_.Uint64(natural);
    if (digits.find_first_not_of("-0123456789") == digits.npos && n <= kMostDigits)
      return document_.String(s, n, true);
    return absl::SimpleAtod(digits, &number) && document_.Double(number);
  }
  bool String(const char* s, Size n, bool copy) { return document_.String(s, n, copy); }
  bool Key(const char* s, Size n, bool copy) { return document_.Key(s, n, copy); }
  bool StartObject() { return ++depth_ <= kMaxDepth && document_.StartObject(); }
  bool EndObject(Size n) { return --depth_ >= 0 && document_.EndObject(n); }
  bool StartArray() { return ++depth_ <= kMaxDepth && document_.StartArray(); }
  bool EndArray(Size n) { return --depth_ >= 0 && document_.EndArray(n); }

  // Whether there was a number that may be a whole one of more than 64 bits.
  bool has_big() const { return has_big_; }

 private:
  static constexpr double kBig = 9223372036854775808.0;
  static constexpr Size kMostDigits = 400;

  Document& document_;
  int depth_ = 0;
  bool has_big_ = false;
};

JsonParser::JsonParser()
    : pool_(kPoolBytes),
      allocator_(pool_.data(), pool_.size()),
      stack_pool_(kStackBytes + kAllocatorBytes),
      stack_allocator_(stack_pool_.data(), stack_pool_.size()),
      document_(&allocator_, kStackBytes, &stack_allocator_) {}

const JsonValue* JsonParser::Parse(std::string_view text) {
  refused_ = false;
  if (text.substr(0, 3) == "\xef\xbb\xbf") text.remove_prefix(3);
  if (text.empty()) return nullptr;
  Load(text);
  if (ParsePlain()) return &document_;
  // The parser stops at a NUL; one inside the text would hide what follows it.
  if (std::memchr(text.data(), 0, text.size()) != nullptr) return nullptr;
  const rapidjson::ParseErrorCode error = ParseAll(text);
  refused_ =
      error == rapidjson::kParseErrorTermination || error == rapidjson::kParseErrorNumberTooBig;
  return error == rapidjson::kParseErrorNone ? &document_ : nullptr;
}

void JsonParser::Load(std::string_view text) {
  document_.SetNull();
  allocator_.Clear();
  text_.resize(text.size() + 1 + kVectorSlack);
  std::memcpy(text_.data(), text.data(), text.size());
  std::memset(text_.data() + text.size(), 0, 1 + kVectorSlack);
}

bool JsonParser::ParsePlain() {
  bool plain = false;
  auto generate = [&](Document& document) {
    plain = PlainJson<Document>::Read({text_.data(), text_.size() - 1 - kVectorSlack}, document);
    return plain;
  };
  document_.Populate(generate);
  stack_allocator_.Clear();
  return plain;
}

rapidjson::ParseErrorCode JsonParser::ParseAll(std::string_view text) {
  bool has_big = false;
  Load(text);
  rapidjson::ParseErrorCode error = ParseLoaded<0>(has_big);
  const bool mend = error == rapidjson::kParseErrorStringUnicodeSurrogateInvalid;
  if (mend) {
    Load(text);
    MendSurrogates(text_.data(), text.size());
    error = ParseLoaded<0>(has_big);
  }
  if (error != rapidjson::kParseErrorNone || !has_big) return error;
  // Rare, and the digits are lost, so it parses again with the numbers as text.
  Load(text);
  if (mend) MendSurrogates(text_.data(), text.size());
  return ParseLoaded<rapidjson::kParseNumbersAsStringsFlag>(has_big);
}

template <unsigned kMoreFlags>
rapidjson::ParseErrorCode JsonParser::ParseLoaded(bool& has_big) {
  rapidjson::ParseErrorCode error = rapidjson::kParseErrorNone;
  auto generate = [&](Document& document) {
    // Not kParseFullPrecisionFlag: its code calls clz(0) for a zero with an exponent. Numbers with
    // 15 digits and a small exponent come out exact without it.
    constexpr unsigned kFlags =
        rapidjson::kParseInsituFlag | rapidjson::kParseNanAndInfFlag | kMoreFlags;
    rapidjson::Reader reader;
    rapidjson::InsituStringStream stream(text_.data());
    DepthGuard guard(document);
    error = reader.Parse<kFlags>(stream, guard).Code();
    has_big = has_big || guard.has_big();
    return error == rapidjson::kParseErrorNone;
  };
  document_.Populate(generate);
  stack_allocator_.Clear();
  return error;
}

std::optional<std::string> TextOf(const JsonValue& value) {
  if (value.IsString()) return ValidUtf8(RawText(value), kMaxJsonString);
  if (value.IsBool()) return value.GetBool() ? "true" : "false";
  if (value.IsUint64()) return absl::StrCat(value.GetUint64());
  if (value.IsInt64()) return absl::StrCat(value.GetInt64());
  if (value.IsDouble() && std::isfinite(value.GetDouble())) return absl::StrCat(value.GetDouble());
  return std::nullopt;
}

std::optional<bool> BoolOf(const JsonValue& value) {
  if (value.IsBool()) return value.GetBool();
  if (value.IsNumber()) {
    const double number = value.GetDouble();
    if (!std::isfinite(number)) return std::nullopt;
    return number != 0;
  }
  if (!value.IsString()) return std::nullopt;
  bool result = false;
  if (!absl::SimpleAtob(Trimmed(RawText(value)), &result)) return std::nullopt;
  return result;
}

std::optional<int32_t> Int32Of(const JsonValue& value) {
  if (value.IsInt()) return value.GetInt();
  if (value.IsBool()) return std::nullopt;
  const std::optional<double> number = DoubleOf(value);
  if (!number || *number != std::trunc(*number) || *number < std::numeric_limits<int32_t>::min() ||
      *number > std::numeric_limits<int32_t>::max()) {
    return std::nullopt;
  }
  return static_cast<int32_t>(*number);
}

std::optional<double> DoubleOf(const JsonValue& value) {
  double number = 0;
  if (value.IsNumber()) {
    number = value.GetDouble();
  } else if (!value.IsString() || !absl::SimpleAtod(Trimmed(RawText(value)), &number)) {
    return std::nullopt;
  }
  if (!std::isfinite(number)) return std::nullopt;
  return number;
}

std::optional<absl::Time> TimeOf(const JsonValue& value) {
  if (value.IsInt64()) return TimeOfCount(value.GetInt64());
  if (value.IsNumber()) return TimeOfCount(value.GetDouble());
  if (value.IsString()) return TimeOfText(RawText(value));
  // MongoDB's {"$date": …}, in any of its forms.
  for (std::string_view name : {"$date", "$numberLong"})
    if (const JsonValue* inner = MemberOf(value, name)) return TimeOf(*inner);
  // Protobuf's and Firestore's {"seconds": …, "nanos": …}.
  for (std::string_view prefix : {"", "_"}) {
    const std::string name(prefix);
    const JsonValue* seconds = MemberOf(value, name + "seconds");
    if (seconds == nullptr) continue;
    const JsonValue* nanos = MemberOf(value, name + "nanos");
    if (nanos == nullptr) nanos = MemberOf(value, name + "nanoseconds");
    const std::optional<absl::Time> time = TimeOf(*seconds);
    if (!time) return std::nullopt;
    const int32_t fraction = nanos == nullptr ? 0 : Int32Of(*nanos).value_or(0);
    return fraction < 0 || fraction >= 1'000'000'000 ? *time : *time + absl::Nanoseconds(fraction);
  }
  return std::nullopt;
}

const JsonValue* MemberOf(const JsonValue& object, std::string_view name) {
  if (!object.IsObject()) return nullptr;
  const JsonValue key(rapidjson::StringRef(name.data(), name.size()));
  const auto member = object.FindMember(key);
  if (member == object.MemberEnd() || member->value.IsNull()) return nullptr;
  return &member->value;
}

}  // namespace finetune
