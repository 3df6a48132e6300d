#include "server/jobs/record/read_numbers.h"

#include <gtest/gtest.h>

#include "server/base/clock.h"

namespace finetune {
namespace {

TEST(ReadNumbers, OneProcessCounts) {
  ReadNumbers numbers;
  EXPECT_EQ(numbers.Next(), 1u);
  numbers.Note(7);
  numbers.Note(3);
  EXPECT_EQ(numbers.NotAfterNow(), 8u);
  EXPECT_EQ(numbers.NotBeforeNow(), 9u);
  EXPECT_EQ(numbers.Next(), 10u);
  EXPECT_EQ(numbers.SharedTime(SteadyNow()), std::nullopt);
}

// Whoever of them counted more reads, and however long it took each to learn the time.
TEST(ReadNumbers, ThoseWhoShareARecordTellWhatWasFirst) {
  const absl::Duration database = absl::Hours(1);  // Its clock less this machine's.
  ReadNumbers quick, slow;
  const absl::Time now = SteadyNow();
  quick.SetClock({.time = now + database,
                  .asked = now - absl::Microseconds(100),
                  .answered = now + absl::Microseconds(100)});
  slow.SetClock({.time = now + database,
                 .asked = now - absl::Seconds(2),
                 .answered = now + absl::Milliseconds(1)});
  for (int i = 0; i < 1'000; ++i) quick.Next();
  const uint64_t prepared = slow.NotAfterNow();
  const uint64_t shown = quick.NotBeforeNow();
  EXPECT_GE(shown, prepared) << "a list that ended after it was prepared may show it";
  const uint64_t unknown = slow.NotBeforeNow();
  EXPECT_LE(quick.NotAfterNow(), unknown) << "a list that began so soon may not";
  EXPECT_GT(quick.Next(), quick.NotAfterNow() - 10'000'000);
  EXPECT_LT(*quick.SharedTime(now) - (now + database), absl::Milliseconds(3));
}

TEST(ReadNumbers, ABetterLookAtTheClockIsTakenAndAnOldOneLeft) {
  ReadNumbers numbers;
  const absl::Time now = SteadyNow();
  const auto look = [&](absl::Time when, absl::Duration clock, absl::Duration took) {
    numbers.SetClock({.time = when + clock, .asked = when - took, .answered = when + took});
  };
  const auto error = [&](absl::Duration clock) {
    return absl::AbsDuration(*numbers.SharedTime(now) - (now + clock));
  };
  look(now, absl::Hours(1), absl::Milliseconds(20));
  look(now, absl::Hours(1) + absl::Milliseconds(1), absl::Milliseconds(1));
  EXPECT_LT(error(absl::Hours(1) + absl::Milliseconds(1)), absl::Microseconds(10));
  look(now + absl::Seconds(1), absl::Hours(1), absl::Milliseconds(20));
  EXPECT_LT(error(absl::Hours(1) + absl::Milliseconds(1)), absl::Microseconds(10));
  look(now + absl::Seconds(7), absl::Hours(1), absl::Milliseconds(20));
  EXPECT_LT(error(absl::Hours(1)), absl::Microseconds(10));
  // The server is another, with another clock.
  look(now + absl::Seconds(8), absl::Hours(2), absl::Seconds(1));
  EXPECT_LT(error(absl::Hours(2)), absl::Microseconds(10));
}

}  // namespace
}  // namespace finetune
