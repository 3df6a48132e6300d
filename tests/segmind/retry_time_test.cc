#include "server/segmind/retry_time.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

// 2025-01-01T00:00:00Z.
const absl::Time kAnswered = absl::FromUnixSeconds(1'735'689'600);

using Headers = std::vector<std::pair<std::string, std::string>>;

std::optional<absl::Duration> Delay(Headers headers) {
  return RetryDelayIn({.code = 503, .headers = std::move(headers), .body = ""}, kAnswered);
}

TEST(RetryTime, IsReadInEveryForm) {
  for (const char* name : {"retry-after", "x-rate-limit-reset-at-utc"}) {
    for (const char* value :
         {"30", "30.0", " 30 ", "Wed, 01 Jan 2025 00:00:30 GMT",
          "Wednesday, 01-Jan-25 00:00:30 GMT", "Wed Jan  1 00:00:30 2025", "2025-01-01T00:00:30Z",
          "2025-01-01 00:00:30", "1735689630", "1735689630000"})
      EXPECT_EQ(Delay({{name, value}}), absl::Seconds(30)) << name << ": " << value;
    EXPECT_EQ(Delay({{name, "7200"}}), absl::Hours(2));
  }
}

TEST(RetryTime, IsNoneWhereThereIsNone) {
  for (const char* value : {"", "soon", "-5", "0", "nan", "inf", "Tue, 31 Dec 2024 00:00:00 GMT",
                            "99999999999999999999", "1735689599"})
    EXPECT_EQ(Delay({{"retry-after", value}}), std::nullopt) << value;
  EXPECT_EQ(Delay({}), std::nullopt);
}

TEST(RetryTime, DoesNotBelieveTheAbsurd) {
  for (const char* value : {"86401", "999999999", "2099-01-01T00:00:00Z", "4070908800"})
    EXPECT_EQ(Delay({{"retry-after", value}}), absl::Hours(1)) << value;
  EXPECT_EQ(Delay({{"retry-after", "86400"}}), absl::Hours(24));
}

TEST(RetryTime, IsTheLongerOfTwo) {
  EXPECT_EQ(Delay({{"retry-after", "5"}, {"x-rate-limit-reset-at-utc", "2025-01-01T00:00:40Z"}}),
            absl::Seconds(40));
  EXPECT_EQ(Delay({{"retry-after", "50"}, {"x-rate-limit-reset-at-utc", "soon"}}),
            absl::Seconds(50));
}

TEST(Age, IsWhatACacheSays) {
  const auto age = [](const char* value) {
    return AgeOf({.code = 200, .headers = {{"age", value}}, .body = ""});
  };
  EXPECT_EQ(age("90"), absl::Seconds(90));
  EXPECT_EQ(age(" 2.5 "), absl::Milliseconds(2500));
  for (const char* none : {"", "0", "-5", "soon", "nan", "-inf"})
    EXPECT_EQ(age(none), absl::ZeroDuration()) << none;
  for (const char* absurd : {"inf", "99999999999999999999", "1e300"})
    EXPECT_EQ(age(absurd), absl::Hours(24 * 365)) << absurd;
  EXPECT_EQ(AgeOf({}), absl::ZeroDuration());
}

TEST(RetryTime, CountsFromTheClockOfWhoeverAnswered) {
  EXPECT_EQ(Delay({{"date", "Tue, 31 Dec 2024 23:00:00 GMT"},
                   {"retry-after", "Tue, 31 Dec 2024 23:00:30 GMT"}}),
            absl::Seconds(30));
  EXPECT_EQ(Delay({{"date", "Tue, 31 Dec 2024 23:00:00 GMT"}, {"retry-after", "30"}}),
            absl::Seconds(30));
}

}  // namespace
}  // namespace finetune
