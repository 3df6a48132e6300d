#include "server/store/moved_to.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace finetune {
namespace {

using ::testing::HasSubstr;

TEST(MovedTo, TellsWhatIsUnderWayFromWhatIsThere) {
  EXPECT_EQ(UnderWayTo(MoveUnderWayTo("sqlite:/a b")), "sqlite:/a b");
  EXPECT_EQ(UnderWayTo("sqlite:/a b"), "");
  EXPECT_EQ(UnderWayTo(""), "");
}

TEST(MovedTo, SaysWhatToDo) {
  EXPECT_EQ(WhyNotHere("sqlite:/a"),
            "was moved: the record is at sqlite:/a now, so start with --store=sqlite:/a");
  EXPECT_THAT(WhyNotHere(MoveUnderWayTo("sqlite:/a")), HasSubstr("to sqlite:/a"));
  EXPECT_THAT(WhyNotHere(MoveUnderWayTo("sqlite:/a")), HasSubstr("run copy-store"));
}

}  // namespace
}  // namespace finetune
