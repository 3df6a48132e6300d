#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/cli/field_words.h"
#include "client/cli/suggestion.h"

namespace finetune::cli {
namespace {

TEST(FieldWords, FieldsAreCalledByTheirFlags) {
  EXPECT_EQ(FlagOf("fine_tune.data_source_uri"), "--data");
  EXPECT_EQ(FlagOf("fine_tune.parameters.extra.lora_rank"), "--param lora_rank");
  EXPECT_EQ(FlagOf("fine_tune.labels.team"), "--label team");
  EXPECT_EQ(FlagOf("something.else"), "something.else");
  EXPECT_EQ(InWordsOfFlags("fine_tune.data_source_uri: is empty. See fine_tune.theme."),
            "--data: is empty. See --theme.");
  EXPECT_EQ(InWordsOfFlags("the theme `a_b` and filter stay"), "the theme `a_b` and filter stay");
}

TEST(Suggestions, TheNearestIsMeant) {
  const std::vector<std::string> commands = {"list", "get", "watch", "wait", "describe"};
  EXPECT_EQ(NearestTo("lst", commands), "list");
  EXPECT_EQ(NearestTo("lsit", commands), "list");
  EXPECT_EQ(NearestTo("desc", commands), "describe");
  EXPECT_EQ(NearestTo("frobnicate", commands), "");
  EXPECT_EQ(NearestTo("x", commands), "");
}

}  // namespace
}  // namespace finetune::cli
