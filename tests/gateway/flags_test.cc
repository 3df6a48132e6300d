#include "server/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

const Environment kHome = {{"HOME", "/h"}};

std::string ErrorOf(const FlagValue& value, absl::string_view text) {
  Config config;
  return std::string(value.set(text, kHome, config).message());
}

TEST(Flags, HaveNamesOfTheirOwnDefaultsThatDoAndAMeaning) {
  std::set<absl::string_view> names;
  for (const Flag& flag : Flags()) {
    EXPECT_TRUE(names.insert(flag.name).second) << flag.name;
    EXPECT_EQ(ErrorOf(flag.value, flag.fallback), "") << flag.name;
    EXPECT_TRUE(absl::EndsWith(flag.help, ".") || absl::EndsWith(flag.help, "...")) << flag.name;
    EXPECT_FALSE(absl::StrContains(flag.help, "\n")) << flag.name;
    EXPECT_EQ(flag.name, absl::AsciiStrToLower(flag.name));
  }
}

TEST(Flags, SayWhatAValueMustBe) {
  EXPECT_THAT(ErrorOf(Switch(&Config::markers), "perhaps"), HasSubstr("not true or false"));
  EXPECT_THAT(ErrorOf(Whole(&Config::settle_lists, 1), "many"), HasSubstr("not a whole number"));
  EXPECT_THAT(ErrorOf(Whole(&Config::settle_lists, 1), "99999999999"), HasSubstr("not a whole"));
  EXPECT_THAT(ErrorOf(Whole(&Config::settle_lists, 1), "0"), HasSubstr("at least 1, not 0"));
  EXPECT_THAT(ErrorOf(Time(&Config::settle_time, absl::Seconds(1)), "5"), HasSubstr("a duration"));
  for (const char* bad : {"inf", "-inf", "0s", "-1s"})
    EXPECT_THAT(ErrorOf(Time(&Config::settle_time, absl::Seconds(1)), bad),
                HasSubstr("must be 1s to 87600h, not '"))
        << bad;
  for (const char* bad : {"", ":", "a", "a:", ":1", "a:b", "a:-1", "a:65536", "::1:5", "[::1:5"})
    EXPECT_THAT(ErrorOf(HostAndPort(&Config::listen), bad), HasSubstr("HOST:PORT")) << bad;
  EXPECT_EQ(ErrorOf(HostAndPort(&Config::listen), "[::1]:5"), "");
  EXPECT_THAT(ErrorOf(Level(&Config::log_level), "INFO"), HasSubstr("debug, info"));
  EXPECT_THAT(ErrorOf(StorePlaceValue(), "file.db"), HasSubstr("sqlite:PATH"));
}

TEST(Flags, RefuseAbsurdValuesWhateverTheFlag) {
  int times = 0, numbers = 0;
  for (const Flag& flag : Flags()) {
    if (absl::StartsWith(flag.value.kind, "a duration")) {
      ++times;
      // The third would be before now on a clock of nanoseconds.
      for (const char* absurd :
           {"", "99999999h", "2562048h", "9223372036854775807h", "1e308h", "inf", "-inf", "nan",
            "NaN", "-1s", "-99999999h", "5", "1d", "5 s", "0x10s", "15s15"})
        EXPECT_NE(ErrorOf(flag.value, absurd), "") << flag.name << " " << absurd;
    } else if (flag.value.kind == "a whole number") {
      ++numbers;
      for (const char* absurd : {"", "-1", "1.5", "1e6", "NaN", "inf", "0x10", "2147483648",
                                 "-2147483649", "99999999999999999999", "1_000"})
        EXPECT_NE(ErrorOf(flag.value, absurd), "") << flag.name << " " << absurd;
    } else if (flag.value.is_switch) {
      for (const char* absurd : {"", "2", "maybe", "-1"})
        EXPECT_NE(ErrorOf(flag.value, absurd), "") << flag.name << " " << absurd;
    }
  }
  EXPECT_GT(times, 10);
  EXPECT_GT(numbers, 5);
  for (const Flag& flag : Flags()) {
    if (absl::StartsWith(flag.name, "drain_")) {
      EXPECT_THAT(ErrorOf(flag.value, "25h"), HasSubstr("must be 0 to 24h")) << flag.name;
    }
  }
}

TEST(Flags, FindAPlaceForTheRecord) {
  Config config;
  const FlagValue store = StorePlaceValue();
  ASSERT_TRUE(store.set("sqlite:", {{"HOME", "/h"}, {"XDG_STATE_HOME", "/s"}}, config).ok());
  EXPECT_EQ(config.sqlite_path, "/s/finetune-gateway/store.db");
  ASSERT_TRUE(store.set("sqlite:", {{"HOME", "/h"}, {"XDG_STATE_HOME", "no path"}}, config).ok());
  EXPECT_EQ(config.sqlite_path, "/h/.local/state/finetune-gateway/store.db");
  EXPECT_FALSE(store.set("sqlite:", {}, config).ok());
}

}  // namespace
}  // namespace finetune
