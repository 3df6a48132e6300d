#include "tests/emulator/times.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace finetune::emulator {
namespace {

// 2024-01-02T03:04:05.678901Z, a Tuesday.
WallTime Example() { return WallTime(std::chrono::microseconds(1704164645678901)); }

TEST(Times, AreWrittenAsOthersWriteThem) {
  const auto written = [](const char* format) { return TimestampJson(Example(), format); };
  EXPECT_EQ(written("rfc3339"), R"("2024-01-02T03:04:05Z")");
  EXPECT_EQ(written("millis"), R"("2024-01-02T03:04:05.678Z")");
  EXPECT_EQ(written("micros"), R"("2024-01-02T03:04:05.678901Z")");
  EXPECT_EQ(written("nanos"), R"("2024-01-02T03:04:05.678901000Z")");
  EXPECT_EQ(written("offset"), R"("2024-01-02T08:34:05+05:30")");
  EXPECT_EQ(written("no_zone"), R"("2024-01-02T03:04:05")");
  EXPECT_EQ(written("no_seconds"), R"("2024-01-02T03:04Z")");
  EXPECT_EQ(written("space"), R"("2024-01-02 03:04:05")");
  EXPECT_EQ(written("rfc1123"), R"("Tue, 02 Jan 2024 03:04:05 GMT")");
  EXPECT_EQ(written("rfc2822"), R"("Tue, 02 Jan 2024 03:04:05 +0000")");
  EXPECT_EQ(written("rfc850"), R"("Tuesday, 02-Jan-24 03:04:05 GMT")");
  EXPECT_EQ(written("asctime"), R"("Tue Jan  2 03:04:05 2024")");
  EXPECT_EQ(written("epoch"), "1704164645");
  EXPECT_EQ(written("epoch_fraction"), "1704164645.678901");
  EXPECT_EQ(written("epoch_ms"), "1704164645678");
  EXPECT_EQ(written("epoch_text"), R"("1704164645")");
  EXPECT_EQ(written("date_object"), R"({"$date":"2024-01-02T03:04:05.678Z"})");
  EXPECT_EQ(written("date_number"), R"({"$date":{"$numberLong":"1704164645678"}})");
  EXPECT_EQ(written("null"), "null");
}

TEST(Times, HaveAWriterForEachName) {
  for (const std::string& format : TimestampFormats()) {
    EXPECT_NE(TimestampJson(Example(), format), "") << format;
  }
}

TEST(Times, CanBeShifted) {
  EXPECT_EQ(TimeText(Shifted(Example(), -45.5), true), "2024-01-02T03:03:20.178901Z");
  EXPECT_EQ(HttpDate(Shifted(Example(), 30)), "Tue, 02 Jan 2024 03:04:35 GMT");
  EXPECT_EQ(CompactTime(1704164645), "20240102T030405Z");
}

}  // namespace
}  // namespace finetune::emulator
