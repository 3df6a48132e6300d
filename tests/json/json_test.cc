#include "server/json/json.h"

#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <string>

namespace finetune {
namespace {

std::optional<std::string> Text(const std::string& json) {
  JsonParser parser;
  const JsonValue* value = parser.Parse(json);
  return value == nullptr ? std::nullopt : TextOf(*value);
}

TEST(JsonParser, TakesExactlyOneValue) {
  JsonParser parser;
  for (const char* json : {"1", " {} ", "\xef\xbb\xbf[]", "\"\"", "null\r\n"})
    EXPECT_NE(parser.Parse(json), nullptr) << json;
  for (const char* json :
       {"", " ", "{", "[1,]", "{} {}", "1 2", "{'a':1}", "<html>", "tru", "\"a"}) {
    EXPECT_EQ(parser.Parse(json), nullptr) << json;
    EXPECT_FALSE(parser.refused()) << json;
  }
}

TEST(JsonParser, LetsNoNulHideWhatFollowsIt) {
  JsonParser parser;
  EXPECT_EQ(parser.Parse(std::string("{}\0{}", 5)), nullptr);
  EXPECT_EQ(parser.Parse(std::string("{}\0", 3)), nullptr);
}

TEST(JsonParser, SaysThatItRefusesWhatNestsTooDeep) {
  JsonParser parser;
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_NE(parser.Parse(nested(512)), nullptr);
  EXPECT_EQ(parser.Parse(nested(513)), nullptr);
  EXPECT_TRUE(parser.refused());
  EXPECT_EQ(parser.Parse(std::string(1'000'000, '[')), nullptr);
  EXPECT_TRUE(parser.refused());
  // What was refused is forgotten.
  EXPECT_NE(parser.Parse("[]"), nullptr);
  EXPECT_FALSE(parser.refused());
}

TEST(JsonParser, KeepsTheDigitsOfNumbersBeyond64Bits) {
  JsonParser parser;
  const JsonValue* value =
      parser.Parse("[18446744073709551616,18446744073709551615,-9223372036854775808,1e30,0.5]");
  ASSERT_NE(value, nullptr);
  EXPECT_EQ(RawText((*value)[0]), "18446744073709551616");
  EXPECT_EQ((*value)[1].GetUint64(), 18446744073709551615u);
  EXPECT_EQ((*value)[2].GetInt64(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ((*value)[3].GetDouble(), 1e30);
  EXPECT_EQ((*value)[4].GetDouble(), 0.5);
}

TEST(JsonParser, PutsASignInThePlaceOfHalfACharacter) {
  EXPECT_EQ(Text(R"("a\ud83d")"), "a\xef\xbf\xbd");
  // The second half alone is no UTF-8 when it is written out: a sign for each of its bytes.
  EXPECT_EQ(Text(R"("\ude00!")"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd!");
  EXPECT_EQ(Text(R"("\ud83d\ude00\ud83d")"), "\xf0\x9f\x98\x80\xef\xbf\xbd");
  // A backslash that is itself escaped begins no escape.
  EXPECT_EQ(Text(R"("\\ud83d \ud83d")"), "\\ud83d \xef\xbf\xbd");
}

TEST(Json, MakesTextOfScalarsAlone) {
  EXPECT_EQ(Text("\"a\""), "a");
  EXPECT_EQ(Text("true"), "true");
  EXPECT_EQ(Text("-7"), "-7");
  EXPECT_EQ(Text("0.25"), "0.25");
  for (const char* json : {"null", "[]", "{}", "NaN", "-Infinity"})
    EXPECT_EQ(Text(json), std::nullopt) << json;
  EXPECT_EQ(Text("\"" + std::string(kMaxJsonString + 1, 'x') + "\"")->size(), kMaxJsonString);
  EXPECT_EQ(Text("\"\xff\""), "\xef\xbf\xbd");
}

TEST(Json, ReadsTruthHoweverItIsWritten) {
  JsonParser parser;
  for (const char* json : {"true", "\"True\"", "\" yes \"", "\"1\"", "1", "-0.5"})
    EXPECT_EQ(BoolOf(*parser.Parse(json)), true) << json;
  for (const char* json : {"false", "\"FALSE\"", "\"no\"", "\"0\"", "0", "0.0"})
    EXPECT_EQ(BoolOf(*parser.Parse(json)), false) << json;
  for (const char* json : {"null", "\"\"", "\"maybe\"", "[true]", "{}", "NaN", "Infinity"})
    EXPECT_EQ(BoolOf(*parser.Parse(json)), std::nullopt) << json;
}

TEST(Json, ReadsWholeNumbersInRangeOnly) {
  JsonParser parser;
  EXPECT_EQ(Int32Of(*parser.Parse("2147483647")), 2147483647);
  EXPECT_EQ(Int32Of(*parser.Parse("-2147483648.0")), std::numeric_limits<int32_t>::min());
  EXPECT_EQ(Int32Of(*parser.Parse("\" 12 \"")), 12);
  for (const char* json : {"2147483648", "-2147483649", "0.5", "\"1x\"", "\"\"", "true", "null",
                           "NaN", "1e300", "\"nan\"", "[1]"})
    EXPECT_EQ(Int32Of(*parser.Parse(json)), std::nullopt) << json;
  EXPECT_EQ(DoubleOf(*parser.Parse("\"1e3\"")), 1000);
  for (const char* json : {"\"inf\"", "Infinity", "true", "{}", "\"1 2\""})
    EXPECT_EQ(DoubleOf(*parser.Parse(json)), std::nullopt) << json;
}

TEST(Json, FindsNoMemberThatIsNullOrMissingOrOfNoObject) {
  JsonParser parser;
  const JsonValue& object = *parser.Parse(R"({"a":1,"n":null,"":2})");
  ASSERT_NE(MemberOf(object, "a"), nullptr);
  EXPECT_EQ(MemberOf(object, "a")->GetInt(), 1);
  EXPECT_NE(MemberOf(object, ""), nullptr);
  EXPECT_EQ(MemberOf(object, "n"), nullptr);
  EXPECT_EQ(MemberOf(object, "A"), nullptr);
  EXPECT_EQ(MemberOf(object["a"], "a"), nullptr);
}

TEST(Json, ReadsATimeAndJsonAroundOne) {
  JsonParser parser;
  for (const char* json :
       {"1735689630", "1735689630.0", "1735689630000", "\"2025-01-01T00:00:30Z\"",
        R"({"$date":"2025-01-01T00:00:30Z"})", R"({"$date":1735689630000})",
        R"({"$date":{"$numberLong":"1735689630000"}})", R"({"seconds":1735689630,"nanos":0})",
        R"({"_seconds":1735689630,"_nanoseconds":0})", R"({"seconds":"1735689630"})"})
    EXPECT_EQ(TimeOf(*parser.Parse(json)), absl::FromUnixSeconds(1'735'689'630)) << json;
  for (const char* json : {"true", "null", "[]", "{}", "\"\"", "0", "-3", R"({"$date":null})",
                           R"({"$date":{"$date":{}}})", R"({"seconds":"x"})", "1e300"})
    EXPECT_EQ(TimeOf(*parser.Parse(json)), std::nullopt) << json;
}

}  // namespace
}  // namespace finetune
