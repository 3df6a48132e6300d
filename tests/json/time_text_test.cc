#include "server/json/time_text.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

// 2025-01-01T00:00:30Z, a Wednesday.
constexpr int64_t kSeconds = 1'735'689'630;
const absl::Time kTime = absl::FromUnixSeconds(kSeconds);

TEST(TimeText, ReadsEveryUsualForm) {
  for (const char* text : {"2025-01-01T00:00:30Z",
                           "2025-01-01T00:00:30z",
                           "2025-01-01t00:00:30+00:00",
                           "2025-01-01T02:00:30+02:00",
                           "2024-12-31T19:00:30-0500",
                           "2025-01-01T00:00:30",
                           "2025-01-01 00:00:30",
                           "2025-01-01 00:00:30 UTC",
                           "2025-01-01 00:00:30+00",
                           "2025-01-01 00:00:30 +0000 UTC",
                           "20250101T000030Z",
                           "  2025-01-01T00:00:30Z\n",
                           "Wed, 01 Jan 2025 00:00:30 GMT",
                           "Wed, 1 Jan 2025 00:00:30 +0000",
                           "Wed, 01 Jan 2025 02:00:30 +0200 (CEST)",
                           "01 Jan 2025 00:00:30 UT",
                           "Wednesday, 01-Jan-25 00:00:30 GMT",
                           "Wed, 01-Jan-2025 00:00:30 GMT",
                           "Wed Jan  1 00:00:30 2025",
                           "Wed Jan 01 00:00:30 2025",
                           "Wed Jan 01 2025 01:00:30 GMT+0100 (Central European Standard Time)",
                           "1735689630",
                           "1735689630.0",
                           "1735689630000",
                           "1735689630000000",
                           "1735689630000000000"})
    EXPECT_EQ(TimeOfText(text), kTime) << text;
  for (const char* text :
       {"2025-01-01T00:00Z", "2025-01-01T00:00", "2025-01-01 00:00", "2025-01-01T01:00+01:00",
        "2025-01-01", "Wed, 01 Jan 2025 00:00 GMT", "Wed, 01 Jan 2025 01:00 +0100"})
    EXPECT_EQ(TimeOfText(text), kTime - absl::Seconds(30)) << text;
}

TEST(TimeText, ReadsUpToNineDigitsOfAFraction) {
  const std::string digits = "123456789";
  for (size_t n = 1; n <= 9; ++n) {
    const std::string fraction = digits.substr(0, n);
    absl::Duration part;
    ASSERT_TRUE(absl::ParseDuration("0." + fraction + "s", &part));
    for (const char* zone : {"Z", "+00:00", ""}) {
      EXPECT_EQ(TimeOfText("2025-01-01T00:00:30." + fraction + zone), kTime + part) << n << zone;
      EXPECT_EQ(TimeOfText("2025-01-01T00:00:30," + fraction + zone), kTime + part) << n << zone;
    }
  }
  EXPECT_EQ(TimeOfText("1735689630.25"), kTime + absl::Milliseconds(250));
  EXPECT_EQ(TimeOfText("1735689630123456789"), kTime + absl::Nanoseconds(123'456'789));
}

TEST(TimeText, MakesNothingOfWhatIsNoTime) {
  for (const char* text : {"",
                           " ",
                           "soon",
                           "now",
                           "infinite-future",
                           "infinite-past",
                           "null",
                           "0",
                           "-1",
                           "-5.5",
                           "nan",
                           "inf",
                           "1e400",
                           "99999999999999999999",
                           "2025-13-01T00:00:00Z",
                           "2025-02-30T00:00:00Z",
                           "2025-01-01T25:00:00Z",
                           "0000-01-01",
                           "12025-01-01T00:00:00Z",
                           "01/02/2025 00:00:30",
                           "Wed, 01 Foo 2025 00:00:30 GMT",
                           "2025-01-01T00:00:30Zjunk",
                           ")",
                           " GMT",
                           "(x)"})
    EXPECT_EQ(TimeOfText(text), std::nullopt) << text;
  EXPECT_EQ(TimeOfText(std::string(1000, '1')), std::nullopt);
  EXPECT_EQ(TimeOfCount(int64_t{0}), std::nullopt);
  EXPECT_EQ(TimeOfCount(std::numeric_limits<int64_t>::min()), std::nullopt);
  EXPECT_EQ(TimeOfCount(std::numeric_limits<double>::quiet_NaN()), std::nullopt);
}

}  // namespace
}  // namespace finetune
