#include "client/cli/text.h"

#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace finetune::cli {
namespace {

bool StartsCharacter(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

}  // namespace

std::string Printable(std::string_view text) {
  std::string result(text);
  for (size_t i = 0; i < result.size(); ++i) {
    const auto c = static_cast<unsigned char>(result[i]);
    if (c < 0x20 || c == 0x7f) result[i] = ' ';
    // The control characters of ISO 8859-1, which some terminals obey, as UTF-8.
    if (c == 0xc2 && i + 1 < result.size() && static_cast<unsigned char>(result[i + 1]) < 0xa0) {
      result.replace(i, 2, " ");
    }
  }
  return result;
}

size_t Width(std::string_view text) {
  return std::count_if(text.begin(), text.end(), StartsCharacter);
}

std::string Shorten(std::string_view text, size_t width) {
  if (Width(text) <= width) return std::string(text);
  size_t end = 0;
  for (size_t columns = 0; end < text.size(); ++end) {
    if (StartsCharacter(text[end]) && ++columns == width) break;
  }
  return absl::StrCat(std::string(text.substr(0, end)), "…");
}

std::string ShortDuration(absl::Duration duration) {
  const int64_t seconds = std::max<int64_t>(0, absl::ToInt64Seconds(duration));
  if (seconds < 60) return absl::StrFormat("%ds", seconds);
  if (seconds < 3600) return absl::StrFormat("%dm%02ds", seconds / 60, seconds % 60);
  if (seconds < 86400) return absl::StrFormat("%dh%02dm", seconds / 3600, seconds / 60 % 60);
  return absl::StrFormat("%dd%02dh", seconds / 86400, seconds / 3600 % 24);
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
  return absl::FormatTime("%Y-%m-%d %H:%M:%SZ", ToTime(time), absl::UTCTimeZone());
}

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

std::string Colours::Wrap(const char* code, std::string_view text) const {
  if (!enabled_) return std::string(text);
  return absl::StrCat("\033[", code, "m", std::string(text), "\033[0m");
}

std::string Colours::State(pb::FineTune::State state, std::string_view text) const {
  switch (state) {
    case pb::FineTune::AVAILABLE:
      return Wrap("32", text);
    case pb::FineTune::FAILED:
    case pb::FineTune::LOST:
      return Wrap("31", text);
    case pb::FineTune::SUBMIT_UNKNOWN:
      return Wrap("33", text);
    case pb::FineTune::STATE_UNSPECIFIED:
      return std::string(text);
    default:
      return Wrap("36", text);
  }
}

std::string Colours::Bold(std::string_view text) const { return Wrap("1", text); }
std::string Colours::Dim(std::string_view text) const { return Wrap("2", text); }

Table::Table(std::vector<std::string> headings) : headings_(std::move(headings)) {
  for (const std::string& heading : headings_) widths_.push_back(Width(heading));
}

void Table::Add(std::vector<Cell> row) {
  for (size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], Width(row[i].text));
  rows_.push_back(std::move(row));
}

void Table::Widen(const std::vector<size_t>& widths) {
  for (size_t i = 0; i < widths.size(); ++i) widths_[i] = std::max(widths_[i], widths[i]);
}

void Table::Print(std::ostream& out, const Colours& colours) {
  if (!headed_) {
    std::vector<Cell> row;
    for (const std::string& heading : headings_) row.push_back({heading, colours.Bold(heading)});
    PrintRow(row, out);
    headed_ = true;
  }
  for (const auto& row : rows_) PrintRow(row, out);
  rows_.clear();
  out.flush();
}

void Table::PrintRow(const std::vector<Cell>& row, std::ostream& out) const {
  for (size_t i = 0; i < row.size(); ++i) {
    out << (row[i].coloured.empty() ? row[i].text : row[i].coloured);
    if (i + 1 < row.size()) out << std::string(widths_[i] - Width(row[i].text) + 2, ' ');
  }
  out << "\n";
}

}  // namespace finetune::cli
