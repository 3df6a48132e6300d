#include "server/json/json.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

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
