#include "server/store/database_clock.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

constexpr absl::Duration kAhead = absl::Hours(5);
const absl::Time kSteady = absl::FromUnixSeconds(1'000);

// A clock that truly is kAhead, of which an answer told after `there` that came `back` later.
DatabaseClock Noted(absl::Duration there, absl::Duration back) {
  DatabaseClock clock;
  clock.Note(kSteady, kSteady + there + back, kSteady + there + kAhead);
  return clock;
}

TEST(DatabaseClock, IsExactWhereTheAnswerTookNoTime) {
  const DatabaseClock clock = Noted(absl::ZeroDuration(), absl::ZeroDuration());
  EXPECT_EQ(clock.ToDatabase(kSteady), kSteady + kAhead);
  EXPECT_EQ(clock.ToSteady(kSteady + kAhead), kSteady);
}

TEST(DatabaseClock, NeverMakesAnythingLookNewerThanItIs) {
  for (const absl::Duration there : {absl::ZeroDuration(), absl::Seconds(1), absl::Seconds(3)}) {
    for (const absl::Duration back : {absl::ZeroDuration(), absl::Seconds(2)}) {
      const DatabaseClock clock = Noted(there, back);
      for (const absl::Time at : {kSteady - absl::Hours(1), kSteady, kSteady + absl::Hours(1)}) {
        EXPECT_LE(clock.ToDatabase(at), at + kAhead);
        EXPECT_LE(clock.ToSteady(at + kAhead), at);
        EXPECT_GE(clock.ToDatabaseAtMost(at), at + kAhead);
        EXPECT_GE(clock.ToSteadyAtMost(at + kAhead), at);
        // It is wrong by no more than the answer took.
        EXPECT_LE(clock.ToDatabaseAtMost(at) - clock.ToDatabase(at), there + back);
        // There and back it only gets older.
        EXPECT_LE(clock.ToSteady(clock.ToDatabase(at)), at);
      }
    }
  }
}

TEST(DatabaseClock, GoesByTheLatestAnswer) {
  DatabaseClock clock = Noted(absl::Seconds(10), absl::Seconds(10));
  clock.Note(kSteady, kSteady, kSteady - absl::Hours(1));
  EXPECT_EQ(clock.ToDatabase(kSteady), kSteady - absl::Hours(1));
  EXPECT_EQ(clock.ToDatabaseAtMost(kSteady), kSteady - absl::Hours(1));
}

}  // namespace
}  // namespace finetune
