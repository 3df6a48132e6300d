#include "server/json/time_text.h"

#include <cmath>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace finetune {
namespace {

constexpr size_t kMaxText = 80;

// A count below this is in seconds; below 1,000 times this in milliseconds; and so on.
constexpr int64_t kFirstMilliseconds = 100'000'000'000;
constexpr int64_t kFirstMicroseconds = kFirstMilliseconds * 1000;
constexpr int64_t kFirstNanoseconds = kFirstMicroseconds * 1000;

std::optional<absl::Time> InRange(absl::Time time) {
  // The range of google.protobuf.Timestamp.
  static const absl::Time first = absl::FromUnixSeconds(-62135596800);
  static const absl::Time last = absl::FromUnixSeconds(253402300799);
  if (time < first || time > last) return std::nullopt;
  return time;
}

std::optional<absl::Time> Parse(absl::string_view format, absl::string_view text) {
  absl::Time time;
  if (!absl::ParseTime(format, text, &time, nullptr)) return std::nullopt;
  if (time == absl::InfiniteFuture() || time == absl::InfinitePast()) return std::nullopt;
  return InRange(time);
}

// Removes the name of a zone that is UTC, or a remark in brackets, from the end.
absl::string_view WithoutZoneName(absl::string_view text) {
  if (absl::ConsumeSuffix(&text, ")")) {
    text = text.substr(0, text.rfind('('));
    text = absl::StripTrailingAsciiWhitespace(text);
  }
  for (absl::string_view name : {" GMT", " UTC", " UT", " Z"})
    if (absl::ConsumeSuffix(&text, name)) break;
  return absl::StripTrailingAsciiWhitespace(text);
}

// Some write a comma for the fraction's point.
std::string WithPoint(absl::string_view text) {
  std::string with_point(text);
  for (size_t i = 1; i + 1 < with_point.size(); ++i) {
    if (with_point[i] == ',' &&
        absl::ascii_isdigit(static_cast<unsigned char>(with_point[i - 1])) &&
        absl::ascii_isdigit(static_cast<unsigned char>(with_point[i + 1])))
      with_point[i] = '.';
  }
  return with_point;
}

std::optional<absl::Time> TimeOfIso(absl::string_view text) {
  for (absl::string_view day : {"%Y-%m-%d", "%E4Y%m%d"}) {
    for (absl::string_view between : {"%ET", " "}) {
      for (absl::string_view clock : {"%H:%M:%E*S", "%H:%M", "%H%M%E*S"}) {
        for (absl::string_view zone : {"%Ez", "", " %Ez"}) {
          if (auto time = Parse(absl::StrCat(day, between, clock, zone), text)) return time;
        }
      }
    }
  }
  return Parse("%Y-%m-%d", text);
}

std::optional<absl::Time> TimeOfWords(absl::string_view text) {
  constexpr absl::string_view kDays[] = {
      "%a, %d %b %Y %H:%M:%E*S", "%d %b %Y %H:%M:%E*S",     "%a, %d %b %Y %H:%M",
      "%d %b %Y %H:%M",          "%A, %d-%b-%y %H:%M:%E*S", "%a, %d-%b-%Y %H:%M:%E*S",
      "%a %b %d %H:%M:%E*S %Y",  "%a %b %d %Y %H:%M:%E*S",
  };
  for (absl::string_view day : kDays) {
    for (absl::string_view zone : {"", " %Ez", " GMT%Ez"}) {
      if (auto time = Parse(absl::StrCat(day, zone), text)) return time;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<absl::Time> TimeOfText(std::string_view raw) {
  const absl::string_view text =
      absl::StripAsciiWhitespace(absl::string_view(raw.data(), raw.size()));
  if (text.empty() || text.size() > kMaxText) return std::nullopt;
  int64_t whole = 0;
  double number = 0;
  if (absl::SimpleAtoi(text, &whole)) return TimeOfCount(whole);
  if (absl::SimpleAtod(text, &number)) return TimeOfCount(number);
  const std::string plain = WithPoint(WithoutZoneName(text));
  if (absl::ascii_isdigit(static_cast<unsigned char>(plain[0]))) {
    if (auto time = TimeOfIso(plain)) return time;
  }
  return TimeOfWords(plain);
}

std::optional<absl::Time> TimeOfCount(int64_t count) {
  if (count <= 0) return std::nullopt;
  if (count < kFirstMilliseconds) return InRange(absl::FromUnixSeconds(count));
  if (count < kFirstMicroseconds) return InRange(absl::FromUnixMillis(count));
  if (count < kFirstNanoseconds) return InRange(absl::FromUnixMicros(count));
  return InRange(absl::FromUnixNanos(count));
}

std::optional<absl::Time> TimeOfCount(double count) {
  if (!std::isfinite(count) || count <= 0 || count >= 9e18) return std::nullopt;
  // A double is exact to the microsecond here.
  if (count < static_cast<double>(kFirstMilliseconds))
    return InRange(absl::FromUnixMicros(std::llround(count * 1e6)));
  if (count < static_cast<double>(kFirstMicroseconds))
    return InRange(absl::FromUnixMicros(std::llround(count * 1e3)));
  return TimeOfCount(static_cast<int64_t>(std::llround(count)));
}

}  // namespace finetune
