// Text for people: safe to print, short, aligned.
#pragma once

#include <google/protobuf/timestamp.pb.h>
#include <segmind/finetune/v1/fine_tune.pb.h>

#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace finetune::cli {

namespace pb = ::segmind::finetune::v1;

// How text is written in this process; set once, at its start.
struct TextStyle {
  // False: characters beyond ASCII are shown as escapes.
  bool utf8 = true;
  absl::TimeZone zone = absl::LocalTimeZone();
};
void SetTextStyle(const TextStyle& style);

// `text` with escapes such as `\u202e` for characters that would move the cursor, colour the
// terminal, or hide or reverse other text; line breaks become spaces.
std::string Printable(std::string_view text);

// How many columns printable UTF-8 text takes.
size_t Width(std::string_view text);

// `text` cut to at most `width` columns, with an ellipsis.
std::string Shorten(std::string_view text, size_t width);

// "42s", "3m07s", "2h05m", "3d04h".
std::string ShortDuration(absl::Duration duration);
// The same in one unit: "42s", "3m", "2h", "3d".
std::string RoughDuration(absl::Duration duration);

absl::Time ToTime(const google::protobuf::Timestamp& time);
// "3m07s ago"; "-" without a time.
std::string Age(const google::protobuf::Timestamp& time, absl::Time now);
// "2026-03-01 12:00:00 CET"; "-" without a time.
std::string Moment(const google::protobuf::Timestamp& time);
// "12:00:00", and the name of its time zone, "CET".
std::string ClockTime(absl::Time time);
std::string ZoneName();
// "1.2 MB".
std::string Bytes(double count);

// The colours of one output; without effect unless enabled.
class Colours {
 public:
  explicit Colours(bool enabled) : enabled_(enabled) {}

  // `code` is the terminal's; an empty one colours nothing.
  std::string Paint(std::string_view code, std::string_view text) const;
  std::string State(pb::FineTune::State state, std::string_view text) const {
    return Paint(CodeOf(state), text);
  }
  std::string Bold(std::string_view text) const { return Paint(kBold, text); }
  std::string Dim(std::string_view text) const { return Paint(kDim, text); }

  static constexpr std::string_view kBold = "1";
  static constexpr std::string_view kDim = "2";
  static std::string_view CodeOf(pb::FineTune::State state);

 private:
  const bool enabled_;
};

}  // namespace finetune::cli
