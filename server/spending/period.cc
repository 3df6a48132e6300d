#include "server/spending/period.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

absl::CivilDay FirstDayOf(PeriodKind kind, absl::CivilDay day) {
  switch (kind) {
    case PeriodKind::kMonth:
      return absl::CivilDay(absl::CivilMonth(day));
    case PeriodKind::kWeek:
      return absl::PrevWeekday(day + 1, absl::Weekday::monday);
    case PeriodKind::kDay:
      break;
  }
  return day;
}

absl::CivilDay Following(PeriodKind kind, absl::CivilDay first) {
  switch (kind) {
    case PeriodKind::kMonth:
      return absl::CivilDay(absl::CivilMonth(first) + 1);
    case PeriodKind::kWeek:
      return first + 7;
    case PeriodKind::kDay:
      break;
  }
  return first + 1;
}

}  // namespace

Period PeriodAt(PeriodKind kind, const absl::TimeZone& zone, absl::Time time) {
  // From the day before, because clocks may have been set back over a midnight.
  absl::CivilDay first = FirstDayOf(kind, absl::ToCivilDay(time, zone) - 1);
  while (true) {
    const absl::CivilDay next = Following(kind, first);
    const absl::Time end = absl::FromCivil(next, zone);
    if (end > time) return {absl::FromCivil(first, zone), end};
    first = next;
  }
}

std::optional<absl::TimeZone> FindZone(const std::string& name) {
  if (name == "UTC") return absl::UTCTimeZone();
  const bool is_name = !name.empty() && name.size() <= 64 &&
                       absl::ascii_isupper(static_cast<unsigned char>(name.front())) &&
                       std::all_of(name.begin(), name.end(), [](char c) {
                         return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
                                absl::StrContains("/_+-", absl::string_view(&c, 1));
                       });
  if (!is_name) return std::nullopt;
  const char* folder = std::getenv("TZDIR");
  const std::string path =
      absl::StrCat(folder == nullptr ? "/usr/share/zoneinfo" : folder, "/", name);
  std::error_code ignored;
  absl::TimeZone zone;
  if (!std::filesystem::is_regular_file(path, ignored) || !absl::LoadTimeZone(name, &zone))
    return std::nullopt;
  return zone;
}

}  // namespace finetune
