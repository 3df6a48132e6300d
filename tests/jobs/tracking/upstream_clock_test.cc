#include "server/jobs/tracking/upstream_clock.h"

#include "gtest/gtest.h"

namespace finetune {
namespace {

const absl::Time kReceived = absl::FromUnixSeconds(1'700'000'000);

TEST(UpstreamClock, KnowsNothingBeforeItIsTold) {
  UpstreamClock clock;
  EXPECT_FALSE(clock.CreatedAt(kReceived));
  EXPECT_TRUE(clock.wants_created());
}

TEST(UpstreamClock, LearnsFromDateHeaders) {
  UpstreamClock clock;
  clock.NoteDate(kReceived, kReceived + absl::Seconds(2), kReceived - absl::Seconds(44));
  EXPECT_EQ(clock.CreatedAt(kReceived), kReceived - absl::Seconds(45));
  clock.NoteDate(kReceived, kReceived + absl::Seconds(2),
                 kReceived + absl::Hours(1) + absl::Seconds(1));
  EXPECT_EQ(clock.CreatedAt(kReceived), kReceived + absl::Hours(1)) << "it was set";
}

TEST(UpstreamClock, TakesItsOwnJobsTimesForMore) {
  UpstreamClock clock;
  // Written in a time zone that it does not name.
  clock.NoteCreated(kReceived, kReceived, kReceived + absl::Hours(5));
  clock.NoteDate(kReceived, kReceived, kReceived);
  EXPECT_EQ(clock.CreatedAt(kReceived), kReceived + absl::Hours(5));
  EXPECT_FALSE(clock.wants_created());
}

TEST(UpstreamClock, LearnsNothingFromNonsense) {
  UpstreamClock clock;
  clock.NoteDate(kReceived, kReceived, absl::UnixEpoch());
  clock.NoteDate(kReceived, kReceived, absl::InfiniteFuture());
  clock.NoteDate(kReceived, kReceived - absl::Seconds(1), kReceived);
  clock.NoteDate(kReceived, kReceived + absl::Minutes(3), kReceived);
  EXPECT_FALSE(clock.CreatedAt(kReceived));
}

}  // namespace
}  // namespace finetune
