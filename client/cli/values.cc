#include "client/cli/values.h"

#include <google/protobuf/util/json_util.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace finetune::cli {
namespace {

constexpr std::string_view kPrefix = "fineTunes/";

bool LooksLikeJson(std::string_view text) {
  if (text.empty()) return false;
  if (text == "true" || text == "false" || text == "null") return true;
  if (text.front() == '[' || text.front() == '{' || text.front() == '"') return true;
  // A number as JSON writes it: `007`, `+1`, `.5`, `nan` and `0x10` stay strings.
  const std::string_view digits = text.front() == '-' ? text.substr(1) : text;
  if (digits.empty() || !absl::ascii_isdigit(digits.front())) return false;
  if (digits.size() > 1 && digits.front() == '0' && absl::ascii_isdigit(digits[1])) return false;
  if (digits.find_first_not_of("0123456789.eE+-") != std::string_view::npos) return false;
  double ignored = 0;
  return absl::SimpleAtod(std::string(text), &ignored) && absl::ascii_isdigit(digits.back());
}

}  // namespace

std::string FullName(std::string_view name) {
  if (name.substr(0, kPrefix.size()) == kPrefix) return std::string(name);
  return absl::StrCat(std::string(kPrefix), std::string(name));
}

std::string ShortName(std::string_view name) {
  if (name.substr(0, kPrefix.size()) == kPrefix) name.remove_prefix(kPrefix.size());
  return std::string(name);
}

absl::StatusOr<pb::FineTune::State> ParseState(std::string_view text) {
  std::string word = absl::AsciiStrToUpper(std::string(text));
  absl::StrReplaceAll({{"-", "_"}}, &word);
  pb::FineTune::State state = pb::FineTune::STATE_UNSPECIFIED;
  if (pb::FineTune::State_Parse(word, &state) && state != pb::FineTune::STATE_UNSPECIFIED)
    return state;
  std::string all;
  for (int i = 1; i < pb::FineTune::State_ARRAYSIZE; ++i) {
    absl::StrAppend(&all, i > 1 ? ", " : "", pb::FineTune::State_Name(i));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("`", std::string(text), "` is no state; the states are ", all));
}

std::string StateName(pb::FineTune::State state) {
  const std::string& name = pb::FineTune::State_Name(state);
  return name.empty() ? absl::StrCat("STATE_", static_cast<int>(state)) : name;
}

absl::StatusOr<absl::Duration> ParseTimespan(std::string_view text) {
  const std::string word(text);
  absl::Duration duration;
  double seconds = 0;
  if (absl::SimpleAtod(word, &seconds)) {
    duration = absl::Seconds(seconds);
  } else if (!absl::ParseDuration(word, &duration)) {
    return absl::InvalidArgumentError(
        absl::StrCat("`", word, "` is no time span; write 90s, 10m or 1h30m"));
  }
  if (duration < absl::ZeroDuration() || duration > absl::Hours(24 * 365) || seconds != seconds) {
    return absl::InvalidArgumentError(absl::StrCat("`", word, "` is not between 0 and a year"));
  }
  return duration;
}

void ToProto(absl::Duration duration, google::protobuf::Duration& proto) {
  absl::Duration rest;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &rest));
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

absl::StatusOr<std::pair<std::string, std::string>> ParsePair(std::string_view text) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    return absl::InvalidArgumentError(absl::StrCat("`", std::string(text), "` is not KEY=VALUE"));
  }
  return std::pair(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
}

absl::StatusOr<std::string> ParseSelector(std::string_view text) {
  std::vector<std::string> parts;
  for (const absl::string_view part : absl::StrSplit(std::string(text), ',')) {
    const size_t equals = part.find('=');
    const bool unequal = equals != part.npos && equals > 0 && part[equals - 1] == '!';
    const absl::string_view key = part.substr(0, equals == part.npos ? equals : equals - unequal);
    if (key.empty())
      return absl::InvalidArgumentError(
          absl::StrCat("`", std::string(text), "` is no label: KEY=VALUE, KEY!=VALUE or KEY"));
    if (equals == part.npos) {
      parts.push_back(absl::StrCat("labels.", key, ":*"));
      continue;
    }
    absl::string_view value = part.substr(equals + 1);
    // `==` as well, like kubectl.
    absl::ConsumePrefix(&value, "=");
    parts.push_back(absl::StrCat("labels.", key, unequal ? " != " : " = ", "\"",
                                 absl::StrReplaceAll(value, {{"\\", "\\\\"}, {"\"", "\\\""}}),
                                 "\""));
  }
  return absl::StrJoin(parts, " AND ");
}

std::optional<int64_t> ParseBigInteger(std::string_view text) {
  constexpr int64_t kExact = int64_t{1} << 53;
  int64_t value = 0;
  if (!LooksLikeJson(text) || text.find_first_of(".eE") != text.npos) return std::nullopt;
  if (!absl::SimpleAtoi(std::string(text), &value)) return std::nullopt;
  if (value >= -kExact && value <= kExact) return std::nullopt;
  return value;
}

google::protobuf::Value ParseParameter(std::string_view text) {
  google::protobuf::Value value;
  if (LooksLikeJson(text) &&
      google::protobuf::util::JsonStringToMessage(std::string(text), &value).ok()) {
    return value;
  }
  value.Clear();
  value.set_string_value(std::string(text));
  return value;
}

}  // namespace finetune::cli
