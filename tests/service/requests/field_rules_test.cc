#include "server/service/requests/field_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace finetune {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

TEST(Labels, FollowKubernetes) {
  for (const char* key : {"a", "team", "a.b-c_d", "example.com/team", "9"})
    EXPECT_THAT(WrongWithLabelKey(key), IsEmpty()) << key;
  for (const std::string& key :
       {std::string(""), std::string("-a"), std::string("a-"), std::string("a b"),
        std::string("/a"), std::string("a/"), std::string("Ex.com/a"), std::string(64, 'a')})
    EXPECT_THAT(WrongWithLabelKey(key), Not(IsEmpty())) << key;
  EXPECT_THAT(WrongWithLabelValue(""), IsEmpty());
  EXPECT_THAT(WrongWithLabelValue("v1.2_x"), IsEmpty());
  EXPECT_THAT(WrongWithLabelValue("a b"), Not(IsEmpty()));
  EXPECT_THAT(WrongWithLabelValue(std::string(64, 'a')), Not(IsEmpty()));
}

}  // namespace
}  // namespace finetune
