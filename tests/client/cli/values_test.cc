#include "client/cli/values.h"

#include <gtest/gtest.h>

#include "client/cli/text.h"

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

TEST(Text, ForeignTextCannotMoveTheCursor) {
  EXPECT_EQ(cli::Printable("a\033[31mb\nc\xc2\x9b"), "a [31mb c ");
  EXPECT_EQ(cli::Shorten("größer", 4), "grö…");
}

}  // namespace
}  // namespace finetune
