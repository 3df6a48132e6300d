#include "server/jobs/tracking/upstream_clock.h"

#include "gtest/gtest.h"

namespace finetune {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

TEST(UpstreamClock, KnowsNothingBeforeItIsTold) {
  UpstreamClock clock;
  EXPECT_FALSE(clock.CreatedAt(kNow));
  EXPECT_TRUE(clock.wants_created());
}

TEST(UpstreamClock, LearnsFromDateHeaders) {
  UpstreamClock clock;
  clock.NoteDate(kNow, kNow + absl::Seconds(2), kNow - absl::Seconds(44));
  EXPECT_EQ(clock.CreatedAt(kNow), kNow - absl::Seconds(45));
  clock.NoteDate(kNow, kNow + absl::Seconds(2), kNow + absl::Hours(1) + absl::Seconds(1));
  EXPECT_EQ(clock.CreatedAt(kNow), kNow + absl::Hours(1)) << "it was set";
}

TEST(UpstreamClock, TakesItsOwnJobsTimesForMore) {
  UpstreamClock clock;
  // Written in a time zone that it does not name.
  clock.NoteCreated(kNow, kNow, kNow + absl::Hours(5));
  clock.NoteDate(kNow, kNow, kNow);
  EXPECT_EQ(clock.CreatedAt(kNow), kNow + absl::Hours(5));
  EXPECT_FALSE(clock.wants_created());
}

TEST(UpstreamClock, LearnsNothingFromNonsense) {
  UpstreamClock clock;
  clock.NoteDate(kNow, kNow, absl::UnixEpoch());
  clock.NoteDate(kNow, kNow, absl::InfiniteFuture());
  clock.NoteDate(kNow, kNow - absl::Seconds(1), kNow);
  clock.NoteDate(kNow, kNow + absl::Minutes(3), kNow);
  EXPECT_FALSE(clock.CreatedAt(kNow));
}

}  // namespace
}  // namespace finetune
