#include "server/jobs/tracking/pace.h"

#include <random>

#include "gtest/gtest.h"

namespace finetune {
namespace {

constexpr Pace::Options kOptions{.active_interval = absl::Seconds(15),
                                 .idle_interval = absl::Minutes(5),
                                 .settle_interval = absl::Seconds(5)};
const absl::Time kStart = absl::FromUnixSeconds(1'000'000);
constexpr int kLimit = 50;

class PaceTest : public ::testing::Test {
 protected:
  PaceTest() { pace_.NoteCallsLeft(kLimit); }
  absl::Time Next(size_t reads = 0, bool recording = false, int left = kLimit) const {
    return pace_.NextStart(reads, recording, left);
  }
  void ReadAt(absl::Time now) {
    pace_.OnListBegun(now);
    pace_.OnListRecorded(now, now);
  }

  Pace pace_{kOptions};
};

TEST_F(PaceTest, BeginsAtOnce) { EXPECT_LE(Next(), kStart); }

TEST_F(PaceTest, TakesTheIntervalOfWhatThereIsToFollow) {
  ReadAt(kStart);
  EXPECT_EQ(Next(), kStart + kOptions.idle_interval);
  pace_.set_interest(Pace::Interest::kActive);
  ReadAt(kStart);
  EXPECT_EQ(Next(), kStart + kOptions.active_interval);
  pace_.set_interest(Pace::Interest::kSettling);
  ReadAt(kStart);
  EXPECT_EQ(Next(), kStart + kOptions.settle_interval);
}

TEST_F(PaceTest, AWokenOneReadsSoonHoweverLongTheIntervalWas) {
  ReadAt(kStart);
  pace_.OnWoken(kStart + absl::Minutes(1));
  EXPECT_LE(Next(), kStart + absl::Minutes(1));
}

TEST_F(PaceTest, WhatIsWantedIsReadAtOnceButNotTwice) {
  ReadAt(kStart);
  pace_.Want(kStart);
  EXPECT_EQ(Next(), kStart + kOptions.idle_interval) << "that list was new enough";
  pace_.Want(kStart + absl::Seconds(1));
  EXPECT_LE(Next(), kStart);
  pace_.OnListBegun(kStart + absl::Seconds(1));
  EXPECT_EQ(Next(1), absl::InfiniteFuture());
}

TEST_F(PaceTest, LeavesTheLastCallsToOthers) {
  ReadAt(kStart);
  pace_.Want(kStart + absl::Seconds(1));
  const absl::Time next = Next(0, false, kLimit / 4);
  EXPECT_GT(next, kStart + absl::Seconds(1));
  EXPECT_LE(next, kStart + absl::Seconds(6));
}

TEST_F(PaceTest, BacksOffFromFailuresAndGoesBackToTheInterval) {
  ReadAt(kStart);
  absl::Time now = kStart;
  for (int i = 0; i < 12; ++i) {
    pace_.OnListFailed(now, absl::ZeroDuration());
    EXPECT_GT(Next(), now);
    EXPECT_LE(Next(), now + absl::Minutes(1));
    now = Next();
    pace_.OnListBegun(now);
  }
  pace_.OnListFailed(now, absl::Hours(2));
  EXPECT_GE(Next(), now + absl::Hours(2)) << "Segmind asked for it";
  EXPECT_EQ(pace_.failures(), 13);
  ReadAt(now);
  EXPECT_EQ(Next(), now + kOptions.idle_interval);
  EXPECT_EQ(pace_.failures(), 0);
}

// Whatever comes in whatever order: lists never stop, and never come in a rush.
TEST(PaceProperty, NeitherStopsNorRushes) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    std::minstd_rand random(seed);
    Pace pace(kOptions);
    pace.NoteCallsLeft(kLimit);
    absl::Time now = kStart;
    absl::Time last_start = absl::InfinitePast();
    int starts = 0;
    for (int step = 0; step < 2000; ++step) {
      now += absl::Milliseconds(random() % 2000);
      const auto roll = random() % 10;
      if (roll == 0) pace.Want(now);
      if (roll == 1) pace.OnWoken(now);
      if (roll == 2) pace.set_interest(static_cast<Pace::Interest>(random() % 3));
      const int left = static_cast<int>(random() % kLimit);
      const absl::Time next = pace.NextStart(0, false, left);
      ASSERT_LE(next, now + kOptions.idle_interval) << "it would stop";
      if (next > now) continue;
      ++starts;
      last_start = now;
      pace.OnListBegun(now);
      if (random() % 5 == 0) {
        pace.OnListFailed(now, absl::ZeroDuration());
        // Not even for somebody who wants it at once.
        pace.Want(now + absl::Milliseconds(1));
        EXPECT_GT(pace.NextStart(0, false, kLimit), last_start);
      } else {
        pace.OnListRecorded(now, now);
      }
    }
    EXPECT_GT(starts, 5);
  }
}

}  // namespace
}  // namespace finetune
