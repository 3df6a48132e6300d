#include "server/access/caller_use.h"

#include <gtest/gtest.h>

#include "server/base/error.h"

namespace finetune {
namespace {

const absl::Time kUsed = absl::FromUnixSeconds(1'700'000'000);

Caller Limited(CallerLimits limits) {
  return {.identity = "a", .role = Role::kAdmin, .sees_all = true, .limits = limits, .use = {}};
}

TEST(CallerUse, LetsThroughAsManyCallsASecondAsAllowed) {
  CallerUse use("a");
  const Caller caller = Limited({.calls_per_second = 10});
  const auto let_through = [&](absl::Time now) {
    int count = 0;
    for (int i = 0; i < 100; ++i) count += use.TakeCall(caller, now).ok() ? 1 : 0;
    return count;
  };
  EXPECT_EQ(let_through(kUsed), 10);
  EXPECT_EQ(let_through(kUsed), 0);
  EXPECT_EQ(let_through(kUsed + absl::Milliseconds(250)), 2);
  EXPECT_EQ(let_through(kUsed + absl::Hours(1)), 10);
  const absl::Status refusal = use.TakeCall(caller, kUsed + absl::Hours(1));
  EXPECT_EQ(refusal.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(refusal), pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
  EXPECT_EQ(RetryDelayOf(refusal), absl::Milliseconds(100));
}

TEST(CallerUse, AClockThatGoesBackGivesNothing) {
  CallerUse use("a");
  const Caller caller = Limited({.calls_per_second = 1});
  EXPECT_TRUE(use.TakeCall(caller, kUsed).ok());
  EXPECT_FALSE(use.TakeCall(caller, kUsed - absl::Hours(1)).ok());
  EXPECT_FALSE(use.TakeCall(caller, kUsed).ok());
}

TEST(CallerUse, ZeroAllowsNone) {
  CallerUse use("a");
  EXPECT_FALSE(use.TakeCall(Limited({.calls_per_second = 0}), kUsed).ok());
}

TEST(CallerUse, ASlowRateLetsOneThroughAtATimeAndSaysWhenTheNextMayCome) {
  CallerUse use("a");
  const Caller caller = Limited({.calls_per_second = 0.1});
  EXPECT_TRUE(use.TakeCall(caller, kUsed).ok());
  EXPECT_EQ(RetryDelayOf(use.TakeCall(caller, kUsed + absl::Seconds(4))), absl::Seconds(6));
  EXPECT_TRUE(use.TakeCall(caller, kUsed + absl::Seconds(10)).ok());
}

TEST(CallerUse, TellsWhatOfABurstIsUsed) {
  CallerUse use("a");
  const Caller caller = Limited({.calls_per_second = 10});
  EXPECT_EQ(use.calls_used(10, kUsed), 0);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(use.TakeCall(caller, kUsed).ok());
  EXPECT_EQ(use.calls_used(10, kUsed), 4);
  EXPECT_EQ(use.calls_used(10, kUsed + absl::Milliseconds(200)), 2);
  EXPECT_EQ(use.calls_used(10, kUsed + absl::Minutes(1)), 0);
}

TEST(CallerUse, WithoutALimitCountsNothing) {
  CallerUse use("a");
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(use.TakeCall(Limited({}), kUsed).ok());
  EXPECT_EQ(use.calls_used(10, kUsed), 0);
}

}  // namespace
}  // namespace finetune
