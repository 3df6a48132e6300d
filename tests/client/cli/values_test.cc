#include "client/cli/values.h"

#include <gtest/gtest.h>

#include <limits>

namespace finetune {
namespace {

namespace pb = segmind::finetune::v1;

TEST(Values, ParametersAreWhatTheyLookLike) {
  EXPECT_EQ(cli::ParseParameter("16").number_value(), 16);
  EXPECT_EQ(cli::ParseParameter("-1.5e-4").number_value(), -1.5e-4);
  EXPECT_TRUE(cli::ParseParameter("true").bool_value());
  EXPECT_EQ(cli::ParseParameter("[1, 2]").list_value().values_size(), 2);
  EXPECT_EQ(cli::ParseParameter("\"16\"").string_value(), "16");
  for (const char* text : {"adamw", "007", "nan", "0x10", "1.", "True", "[broken", "", "-"}) {
    EXPECT_EQ(cli::ParseParameter(text).kind_case(), google::protobuf::Value::kStringValue) << text;
  }
}

TEST(Values, TimespansAndStatesAreReadLeniently) {
  EXPECT_EQ(*cli::ParseTimespan("90"), absl::Seconds(90));
  EXPECT_EQ(*cli::ParseTimespan("1h30m"), absl::Minutes(90));
  for (const char* text : {"", "x", "-1s", "nan", "inf"})
    EXPECT_FALSE(cli::ParseTimespan(text).ok()) << text;
  EXPECT_EQ(*cli::ParseState("submit-unknown"), pb::FineTune::SUBMIT_UNKNOWN);
  EXPECT_FALSE(cli::ParseState("STATE_UNSPECIFIED").ok());
}

TEST(Values, SelectorsAreFilters) {
  EXPECT_EQ(*cli::ParseSelector("team=art"), "labels.team = \"art\"");
  EXPECT_EQ(*cli::ParseSelector("a==b,c!=d,e"),
            "labels.a = \"b\" AND labels.c != \"d\" AND labels.e:*");
  EXPECT_EQ(*cli::ParseSelector("a=\"\\"), "labels.a = \"\\\"\\\\\"");
  EXPECT_FALSE(cli::ParseSelector("=b").ok());
  EXPECT_FALSE(cli::ParseSelector("").ok());
}

TEST(Values, WholeNumbersThatADoubleCannotHoldAreKept) {
  EXPECT_EQ(*cli::ParseBigInteger("9007199254740993"), 9007199254740993);
  EXPECT_EQ(*cli::ParseBigInteger("-9223372036854775808"), std::numeric_limits<int64_t>::min());
  for (const char* text : {"9007199254740992", "1e30", "007", "x", "99999999999999999999", ""})
    EXPECT_FALSE(cli::ParseBigInteger(text).has_value()) << text;
}

}  // namespace
}  // namespace finetune
