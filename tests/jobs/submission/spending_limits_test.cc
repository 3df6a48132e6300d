#include "server/jobs/submission/spending_limits.h"

#include <gtest/gtest.h>

#include "server/base/error.h"
#include "server/base/time_proto.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

const absl::Time kToday = absl::FromUnixSeconds(1'700'000'000);

Spending Spent(int64_t creates, absl::Duration oldest_age, int64_t active = 0) {
  return {.creates = {.count = creates, .oldest = kToday - oldest_age}, .active_jobs = active};
}

TEST(CheckSpending, AllowsTheLastOneAndNotOneMore) {
  const SpendingLimits limits{.creates_per_day = 3, .active_jobs = 2};
  EXPECT_TRUE(CheckSpending("alice", Spent(2, absl::Hours(1), 1), limits, kToday).ok());
  EXPECT_EQ(ReasonOf(CheckSpending("alice", Spent(3, absl::Hours(1), 0), limits, kToday)),
            pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
  EXPECT_EQ(ReasonOf(CheckSpending("alice", Spent(0, absl::Hours(1), 2), limits, kToday)),
            pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
}

TEST(CheckSpending, SaysWhenTheOldestOneNoLongerCounts) {
  const SpendingLimits limits{.creates_per_day = 3};
  EXPECT_EQ(RetryDelayOf(CheckSpending("alice", Spent(3, absl::Hours(23)), limits, kToday)),
            absl::Hours(1));
  // Whatever clocks did meanwhile, neither at once nor after more than a day.
  EXPECT_EQ(RetryDelayOf(CheckSpending("alice", Spent(3, absl::Hours(30)), limits, kToday)),
            absl::Seconds(1));
  EXPECT_EQ(RetryDelayOf(CheckSpending("alice", Spent(3, -absl::Hours(30)), limits, kToday)),
            kSpendingWindow);
}

TEST(CheckSpending, LimitsNothingWithoutLimits) {
  EXPECT_FALSE(SpendingLimits().any());
  EXPECT_TRUE(CheckSpending("alice", Spent(1'000, absl::Hours(1), 1'000), {}, kToday).ok());
}

TEST(CheckSpending, CountsByTheRecordEachCallerForItself) {
  JobsFixture jobs;
  const SpendingLimits limits{.creates_per_day = 1};
  record::Intent intent;
  intent.set_caller("alice");
  intent.set_request_id("r");
  intent.set_state(record::Intent::PREPARED);
  ASSERT_TRUE(jobs.Run([&](Draft& draft) {
                    EXPECT_TRUE(CheckSpendingOf(draft, "alice", limits).ok());
                    *intent.mutable_create_time() = ToProto(draft.now());
                    draft.PutIntent(intent);
                    return absl::OkStatus();
                  })
                  .ok());
  ASSERT_TRUE(jobs.Run([&](Draft& draft) {
                    EXPECT_EQ(ReasonOf(CheckSpendingOf(draft, "alice", limits)),
                              pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
                    EXPECT_TRUE(CheckSpendingOf(draft, "bob", limits).ok());
                    EXPECT_TRUE(CheckSpendingOf(draft, "alice", {}).ok());
                    return absl::OkStatus();
                  })
                  .ok());
}

}  // namespace
}  // namespace finetune
