#include "server/jobs/filter/filter_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

// What the text means, written in one way.
std::string Meaning(std::string_view text) {
  const auto node = FilterParser(text).Parse();
  EXPECT_TRUE(node.ok()) << text << ": " << node.status();
  return node.ok() && *node != nullptr ? (*node)->canonical : "";
}
absl::Status Refusal(std::string_view text) { return FilterParser(text).Parse().status(); }

TEST(FilterParser, NothingButSpacesIsNoFilter) {
  for (const char* text : {"", " ", "\t\r\n "}) {
    const auto node = FilterParser(text).Parse();
    ASSERT_TRUE(node.ok());
    EXPECT_EQ(*node, nullptr);
  }
}

TEST(FilterParser, OrBindsTighterThanAnd) {
  EXPECT_EQ(Meaning("a OR b AND c"), Meaning("(a OR b) AND c"));
  EXPECT_EQ(Meaning("a AND b OR c"), Meaning("a AND (b OR c)"));
  EXPECT_EQ(Meaning("a b OR c"), Meaning("a AND (b OR c)"));
  EXPECT_NE(Meaning("a OR b AND c"), Meaning("a OR (b AND c)"));
}

TEST(FilterParser, NotStandsForWhatFollowsItAlone) {
  EXPECT_EQ(Meaning("NOT a b"), Meaning("(NOT a) AND b"));
  EXPECT_EQ(Meaning("-a"), Meaning("NOT a"));
  EXPECT_EQ(Meaning("NOT(a b)"), Meaning("NOT (a AND b)"));
  EXPECT_EQ(Meaning("NOT a OR b"), Meaning("(NOT a) OR b"));
}

TEST(FilterParser, KeywordsAreWordsOfTheirOwnInCapitals) {
  EXPECT_EQ(Meaning("ANDROID"), Meaning("android"));
  EXPECT_EQ(Meaning("or"), Meaning("\"OR\""));
  EXPECT_EQ(Meaning("NOTE"), Meaning("note"));
  for (const char* text : {"AND", "a AND", "OR a", "a OR", "NOT", "-", "a AND AND b"})
    EXPECT_FALSE(Refusal(text).ok()) << text;
}

TEST(FilterParser, ReadsStarsAtTheEndsAsWildcardsUnlessTheyAreEscaped) {
  EXPECT_NE(Meaning("display_name = \"a*\""), Meaning("display_name = \"a\\*\""));
  EXPECT_EQ(Meaning("display_name = a*"), Meaning("display_name = \"a*\""));
  EXPECT_NE(Meaning("display_name = *a"), Meaning("display_name = a*"));
  EXPECT_EQ(Meaning("display_name = a*b"), Meaning("display_name = \"a\\*b\""));
  EXPECT_FALSE(Refusal("display_name < a*").ok());
  EXPECT_FALSE(Refusal("state = TRAIN*").ok());
}

TEST(FilterParser, TakesLabelsByAnyKey) {
  EXPECT_EQ(Meaning("labels.team = a"), Meaning("labels.\"team\"=\"a\""));
  EXPECT_EQ(Meaning("labels:team"), Meaning("labels.team:*"));
  EXPECT_NE(Meaning("labels.\"a b\" = c"), "");
  for (const char* text : {"labels = a", "labels. = a", "labels.\"\" = a", "labels:*", "labels:a*"})
    EXPECT_FALSE(Refusal(text).ok()) << text;
}

TEST(FilterParser, SaysAtWhichCharacterItIsWrongAndWhatItExpected) {
  const absl::Status status = Refusal("state = TRAINING AND colour = red");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::INVALID_FIELD);
  EXPECT_THAT(std::string(status.message()), HasSubstr("at position 22: expected "));
  EXPECT_THAT(std::string(status.message()), HasSubstr("display_name"));
  EXPECT_THAT(std::string(Refusal("state = PURRING").message()), HasSubstr("TRAINING"));
  EXPECT_THAT(std::string(Refusal("create_time > yesterday").message()), HasSubstr("a time"));
  EXPECT_THAT(std::string(Refusal("(a").message()), HasSubstr("')'"));
  EXPECT_THAT(std::string(Refusal("\"a").message()), HasSubstr("at position 1"));
}

TEST(FilterParser, BoundsWhatATextMayCost) {
  const auto nested = [](int depth) {
    return std::string(depth, '(') + "a" + std::string(depth, ')');
  };
  EXPECT_EQ(Meaning(nested(FilterParser::kMaxDepth)), Meaning("a"));
  EXPECT_THAT(std::string(Refusal(nested(FilterParser::kMaxDepth + 1)).message()),
              HasSubstr("levels of nesting"));
  EXPECT_TRUE(Refusal(std::string(FilterParser::kMaxLength, 'a')).ok());
  EXPECT_THAT(std::string(Refusal(std::string(FilterParser::kMaxLength + 1, 'a')).message()),
              HasSubstr("at most 2000 bytes"));
}

TEST(FilterParser, ReadsTimesThatAreNoneAsRefusals) {
  for (const char* time : {"infinite-future", "2026-01-31", "\"2026-13-01T00:00:00Z\"", "*"})
    EXPECT_FALSE(Refusal(absl::StrCat("create_time > ", time)).ok()) << time;
  EXPECT_EQ(Meaning("create_time = 2026-01-31T12:00:00Z"),
            Meaning("create_time : \"2026-01-31T13:00:00+01:00\""));
}

}  // namespace
}  // namespace finetune
