#include "client/cli/text.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "server/base/utf8.h"

namespace finetune::cli {
namespace {

TextStyle& Style() {
  static TextStyle style;
  return style;
}

struct Range {
  uint32_t first;
  uint32_t last;
};

// Invisible characters that change how other text is shown: direction marks, line separators,
// zero-width characters, tags.
constexpr Range kHidden[] = {
    {0x0, 0x1f},      {0x7f, 0x9f},     {0xad, 0xad},       {0x34f, 0x34f},     {0x61c, 0x61c},
    {0x115f, 0x1160}, {0x17b4, 0x17b5}, {0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},
    {0x2060, 0x206f}, {0x3164, 0x3164}, {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   {0xfff0, 0xfffb},
    {0xfdd0, 0xfdef}, {0xfffe, 0xffff}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};
// Characters that are two columns wide: East Asian ones, and pictures.
constexpr Range kWide[] = {
    {0x1100, 0x115e},   {0x2e80, 0x303e},   {0x3041, 0x4dbf},   {0x4e00, 0xa4cf},
    {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},
    {0xffe0, 0xffe6},   {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff},
    {0x20000, 0x3fffd},
};
// Marks above, below or behind the character before.
constexpr Range kCombining[] = {
    {0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},   {0x64b, 0x65f},
    {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f},
};

template <size_t N>
bool IsIn(uint32_t code, const Range (&ranges)[N]) {
  return std::any_of(std::begin(ranges), std::end(ranges),
                     [&](const Range& range) { return range.first <= code && code <= range.last; });
}

// One character of a text: its bytes and its code, which is absent if the bytes are not UTF-8.
struct Character {
  std::string_view bytes;
  std::optional<uint32_t> code;
};

Character First(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t length = lead < 0x80         ? 1
                        : lead >> 5 == 0x6  ? 2
                        : lead >> 4 == 0xe  ? 3
                        : lead >> 3 == 0x1e ? 4
                                            : 0;
  if (length == 0 || length > text.size()) return {text.substr(0, 1), std::nullopt};
  const std::string_view bytes = text.substr(0, length);
  if (ValidUtf8(bytes) != bytes) return {text.substr(0, 1), std::nullopt};
  uint32_t code = length == 1 ? lead : lead & (0xff >> (length + 1));
  for (const char c : bytes.substr(1)) code = code << 6 | (static_cast<unsigned char>(c) & 0x3f);
  return {bytes, code};
}

size_t WidthOf(const Character& character) {
  if (!character.code || *character.code < 0x300) return 1;
  return IsIn(*character.code, kCombining) ? 0 : IsIn(*character.code, kWide) ? 2 : 1;
}

// Calls `take` with each character until it returns false.
template <typename Take>
void ForEach(std::string_view text, const Take& take) {
  while (!text.empty()) {
    const Character character = First(text);
    if (!take(character)) return;
    text.remove_prefix(character.bytes.size());
  }
}

}  // namespace

void SetTextStyle(const TextStyle& style) { Style() = style; }

std::string Printable(std::string_view text) {
  std::string result;
  ForEach(text, [&](const Character& character) {
    if (!character.code) {
      absl::StrAppendFormat(&result, "\\x%02x", static_cast<unsigned char>(character.bytes[0]));
    } else if (absl::StrContains("\n\r\t", character.bytes[0])) {
      result += ' ';
    } else if (IsIn(*character.code, kHidden) || (!Style().utf8 && *character.code > 0x7e)) {
      *character.code > 0xffff ? absl::StrAppendFormat(&result, "\\U%08x", *character.code)
                               : absl::StrAppendFormat(&result, "\\u%04x", *character.code);
    } else {
      result += character.bytes;
    }
    return true;
  });
  return result;
}

size_t Width(std::string_view text) {
  size_t width = 0;
  ForEach(text, [&](const Character& character) {
    width += WidthOf(character);
    return true;
  });
  return width;
}

std::string Shorten(std::string_view text, size_t width) {
  if (Width(text) <= width) return std::string(text);
  const std::string_view ellipsis = Style().utf8 ? "…" : "...";
  const size_t room = width - std::min(width, Width(ellipsis));
  size_t end = 0, columns = 0;
  ForEach(text, [&](const Character& character) {
    columns += WidthOf(character);
    if (columns > room) return false;
    end += character.bytes.size();
    return true;
  });
  return absl::StrCat(std::string(text.substr(0, end)),
                      std::string(ellipsis.substr(0, width < 3 && !Style().utf8 ? width : 3)));
}

std::string ShortDuration(absl::Duration duration) {
  const int64_t seconds = std::max<int64_t>(0, absl::ToInt64Seconds(duration));
  if (seconds < 60) return absl::StrFormat("%ds", seconds);
  if (seconds < 3600) return absl::StrFormat("%dm%02ds", seconds / 60, seconds % 60);
  if (seconds < 86400) return absl::StrFormat("%dh%02dm", seconds / 3600, seconds / 60 % 60);
  return absl::StrFormat("%dd%02dh", seconds / 86400, seconds / 3600 % 24);
}

std::string RoughDuration(absl::Duration duration) {
  const int64_t seconds = std::max<int64_t>(0, absl::ToInt64Seconds(duration));
  if (seconds < 60) return absl::StrFormat("%ds", seconds);
  if (seconds < 3600) return absl::StrFormat("%dm", seconds / 60);
  if (seconds < 2 * 86400) return absl::StrFormat("%dh", seconds / 3600);
  return absl::StrFormat("%dd", seconds / 86400);
}

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::string Age(const google::protobuf::Timestamp& time, absl::Time now) {
  if (time.seconds() == 0) return "-";
  return absl::StrCat(ShortDuration(now - ToTime(time)), " ago");
}

std::string Moment(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S %Z", ToTime(time), Style().zone);
}

std::string ClockTime(absl::Time time) { return absl::FormatTime("%H:%M:%S", time, Style().zone); }

std::string ZoneName() { return absl::FormatTime("%Z", absl::Now(), Style().zone); }

std::string Bytes(double count) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (count >= 1000 && unit + 1 < std::size(kUnits)) {
    count /= 1000;
    ++unit;
  }
  return unit == 0 ? absl::StrFormat("%.0f B", count)
                   : absl::StrFormat("%.1f %s", count, kUnits[unit]);
}

std::string Colours::Paint(std::string_view code, std::string_view text) const {
  if (!enabled_ || code.empty()) return std::string(text);
  return absl::StrCat("\033[", std::string(code), "m", std::string(text), "\033[0m");
}

std::string_view Colours::CodeOf(pb::FineTune::State state) {
  switch (state) {
    case pb::FineTune::AVAILABLE:
      return "32";
    case pb::FineTune::FAILED:
    case pb::FineTune::CANCELLED:
    case pb::FineTune::LOST:
      return "31";
    case pb::FineTune::SUBMIT_UNKNOWN:
      return "33";
    case pb::FineTune::STATE_UNSPECIFIED:
      return "";
    default:
      return "36";
  }
}

}  // namespace finetune::cli
