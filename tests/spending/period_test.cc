#include "server/spending/period.h"

#include <gtest/gtest.h>

#include <random>

namespace finetune {
namespace {

absl::TimeZone Zone(const char* name) {
  const auto zone = FindZone(name);
  EXPECT_TRUE(zone.has_value()) << name;
  return zone.value_or(absl::UTCTimeZone());
}
absl::Time At(const char* text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << error;
  return time;
}

TEST(Period, FollowsTheZonesOwnCalendar) {
  const absl::TimeZone berlin = Zone("Europe/Berlin");
  const absl::Time time = At("2026-10-31T23:30:00Z");  // Half past midnight there.
  EXPECT_EQ(PeriodAt(PeriodKind::kDay, berlin, time).start, At("2026-11-01T00:00:00+01:00"));
  EXPECT_EQ(PeriodAt(PeriodKind::kMonth, berlin, time).start, At("2026-11-01T00:00:00+01:00"));
  EXPECT_EQ(PeriodAt(PeriodKind::kMonth, berlin, time).end, At("2026-12-01T00:00:00+01:00"));
  EXPECT_EQ(PeriodAt(PeriodKind::kMonth, absl::UTCTimeZone(), time).end,
            At("2026-11-01T00:00:00Z"));
  // The first of November is a Sunday.
  EXPECT_EQ(PeriodAt(PeriodKind::kWeek, berlin, time).start, At("2026-10-26T00:00:00+01:00"));
  EXPECT_EQ(PeriodAt(PeriodKind::kWeek, berlin, time).end, At("2026-11-02T00:00:00+01:00"));
}

TEST(Period, HasDaysOf23And25HoursWhereTheClocksChange) {
  const absl::TimeZone berlin = Zone("Europe/Berlin");
  const auto length = [&](const char* text) {
    const Period day = PeriodAt(PeriodKind::kDay, berlin, At(text));
    return day.end - day.start;
  };
  EXPECT_EQ(length("2026-03-29T10:00:00Z"), absl::Hours(23));
  EXPECT_EQ(length("2026-10-25T10:00:00Z"), absl::Hours(25));
}

TEST(Period, BeginsADayWhoseMidnightIsSkippedWhereTheClocksGoOn) {
  // Cairo goes from 2026-04-24 00:00 to 01:00.
  const absl::TimeZone cairo = Zone("Africa/Cairo");
  const Period day = PeriodAt(PeriodKind::kDay, cairo, At("2026-04-24T12:00:00Z"));
  EXPECT_EQ(day.start, At("2026-04-24T01:00:00+03:00"));
  EXPECT_EQ(day.end - day.start, absl::Hours(23));
}

// Every moment is in one period, and the next begins where it ends.
TEST(Period, DividesTimeWithoutGapsAndOverlaps) {
  std::mt19937_64 random(7);
  for (const char* name :
       {"UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Asuncion",
        "America/St_Johns", "Africa/Cairo", "Asia/Kathmandu", "Asia/Beirut", "Pacific/Apia",
        "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Chatham"}) {
    const absl::TimeZone zone = Zone(name);
    for (const PeriodKind kind : {PeriodKind::kDay, PeriodKind::kWeek, PeriodKind::kMonth}) {
      for (int i = 0; i < 300; ++i) {
        // From 1990 to 2037.
        const absl::Time time =
            absl::FromUnixSeconds(631'152'000 + static_cast<int64_t>(random() % 1'480'000'000));
        const Period period = PeriodAt(kind, zone, time);
        ASSERT_LE(period.start, time) << name;
        ASSERT_GT(period.end, time) << name;
        ASSERT_EQ(PeriodAt(kind, zone, period.start).start, period.start) << name;
        ASSERT_EQ(PeriodAt(kind, zone, period.end).start, period.end) << name << " " << period.end;
        ASSERT_EQ(PeriodAt(kind, zone, period.end - absl::Nanoseconds(1)).start, period.start);
      }
    }
  }
}

TEST(Zones, AreFoundByTheirNamesAlone) {
  EXPECT_TRUE(FindZone("America/Argentina/Buenos_Aires").has_value());
  for (const char* name : {"", "Berlin", "Europe", "localtime", "../UTC", "/etc/localtime",
                           "Europe/../Europe/Berlin", "file:UTC", "libc:localtime", "utc"})
    EXPECT_FALSE(FindZone(name).has_value()) << name;
  EXPECT_FALSE(FindZone(std::string(100, 'A')).has_value());
}

}  // namespace
}  // namespace finetune
