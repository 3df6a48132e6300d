#include "server/segmind/made_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

absl::Time At(int seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

TEST(MadeCallsTest, EachPriorityIsInItsGroups) {
  for (const CallPriority priority :
       {CallPriority::kSubmit, CallPriority::kInteractive, CallPriority::kBackground}) {
    EXPECT_TRUE(IsIn(CallGroup::kAll, priority));
    EXPECT_TRUE(IsIn(GroupOf(priority), priority));
    EXPECT_EQ(IsIn(CallGroup::kOfCallers, priority), priority != CallPriority::kBackground);
    EXPECT_EQ(IsIn(CallGroup::kNotSubmits, priority), priority != CallPriority::kSubmit);
  }
  EXPECT_FALSE(IsIn(CallGroup::kSubmits, CallPriority::kInteractive));
  EXPECT_FALSE(IsIn(CallGroup::kInteractive, CallPriority::kBackground));
  EXPECT_FALSE(IsIn(CallGroup::kBackground, CallPriority::kSubmit));
}

TEST(MadeCallsTest, CountsByGroupAndByCallerAndForgetsTheOldest) {
  const auto alice = std::make_shared<Sharer>("alice"), bob = std::make_shared<Sharer>("bob");
  MadeCalls made;
  made.Add({At(1), {CallPriority::kSubmit, alice}});
  made.Add({At(2), {CallPriority::kBackground, nullptr}});
  made.Add({At(3), {CallPriority::kInteractive, bob}});
  made.Add({At(4), {CallPriority::kInteractive, alice}});
  EXPECT_THAT(made.In(CallGroup::kAll), ElementsAre(At(1), At(2), At(3), At(4)));
  EXPECT_THAT(made.In(CallGroup::kOfCallers), ElementsAre(At(1), At(3), At(4)));
  EXPECT_THAT(made.In(CallGroup::kNotSubmits), ElementsAre(At(2), At(3), At(4)));
  EXPECT_THAT(made.In(CallGroup::kSubmits), ElementsAre(At(1)));
  EXPECT_THAT(made.By(alice.get()), ElementsAre(At(1), At(4)));
  EXPECT_THAT(made.By(nullptr), IsEmpty());

  made.ForgetUntil(At(3));
  EXPECT_THAT(made.In(CallGroup::kAll), ElementsAre(At(4)));
  EXPECT_THAT(made.In(CallGroup::kInteractive), ElementsAre(At(4)));
  EXPECT_THAT(made.In(CallGroup::kBackground), IsEmpty());
  EXPECT_THAT(made.By(alice.get()), ElementsAre(At(4)));
  EXPECT_THAT(made.By(bob.get()), IsEmpty());
}

TEST(MadeCallsTest, GivesThemAwayWithTheirIds) {
  MadeCalls made;
  made.Add({At(1), {CallPriority::kSubmit, std::make_shared<Sharer>("alice")}});
  made.SetLastId(7);
  const auto calls = made.Take();
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls.front().id, 7u);
  EXPECT_THAT(made.In(CallGroup::kAll), IsEmpty());
  EXPECT_THAT(made.By(calls.front().want.sharer.get()), IsEmpty());
}

}  // namespace
}  // namespace finetune
