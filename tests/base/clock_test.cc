#include "server/base/clock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/base/manual_clock.h"
#include "tests/base/notification.h"

namespace finetune {
namespace {

TEST(RealClock, RunsTimersInTheOrderOfTheirTimes) {
  auto clock = MakeRealClock();
  std::vector<int> ran;
  Notification done;
  const absl::Time now = clock->Now();
  clock->RunAt(now + absl::Milliseconds(40), [&] {
    ran.push_back(2);
    done.Notify();
  });
  clock->RunAt(now + absl::Milliseconds(20), [&] { ran.push_back(1); });
  done.WaitForNotification();
  EXPECT_EQ(ran, (std::vector<int>{1, 2}));
  EXPECT_GE(clock->Now(), now + absl::Milliseconds(40));
}

TEST(RealClock, RunsWhatIsOverdueAtOnceAndOnItsOwnThread) {
  auto clock = MakeRealClock();
  Notification done;
  std::thread::id thread;
  clock->RunAt(absl::InfinitePast(), [&] {
    thread = std::this_thread::get_id();
    done.Notify();
  });
  done.WaitForNotification();
  EXPECT_NE(thread, std::this_thread::get_id());
}

TEST(RealClock, NeverRunsATimerThatWasCancelled) {
  auto clock = MakeRealClock();
  bool ran = false;
  const Clock::TimerId timer = clock->RunAfter(absl::Hours(1), [&] { ran = true; });
  EXPECT_NE(timer, Clock::kNoTimer);
  EXPECT_TRUE(clock->Cancel(timer));
  EXPECT_FALSE(clock->Cancel(timer));
  EXPECT_FALSE(clock->Cancel(Clock::kNoTimer));
  clock.reset();
  EXPECT_FALSE(ran);
}

TEST(RealClock, CancelWaitsForACallbackThatIsRunning) {
  auto clock = MakeRealClock();
  Notification started;
  std::atomic<bool> finished = false;
  const Clock::TimerId timer = clock->RunAfter(absl::ZeroDuration(), [&] {
    started.Notify();
    std::this_thread::yield();
    finished = true;
  });
  started.WaitForNotification();
  EXPECT_FALSE(clock->Cancel(timer));
  EXPECT_TRUE(finished);
}

TEST(RealClock, LetsACallbackCancelItselfAndSetTimers) {
  auto clock = MakeRealClock();
  Notification done;
  std::atomic<Clock::TimerId> own{Clock::kNoTimer};
  Notification known;
  own = clock->RunAfter(absl::ZeroDuration(), [&] {
    known.WaitForNotification();
    EXPECT_FALSE(clock->Cancel(own));
    clock->RunAfter(absl::ZeroDuration(), [&] { done.Notify(); });
  });
  known.Notify();
  done.WaitForNotification();
}

TEST(RealClock, SurvivesATimerInTheInfiniteFuture) {
  auto clock = MakeRealClock();
  bool ran = false;
  clock->RunAt(absl::InfiniteFuture(), [&] { ran = true; });
  Notification done;
  clock->RunAfter(absl::Milliseconds(1), [&] { done.Notify(); });
  done.WaitForNotification();
  EXPECT_FALSE(ran);
}

TEST(RealClock, GoesOnSteadilyFromTheTimeOfDayOfTheStart) {
  auto clock = MakeRealClock();
  const absl::Time now = clock->Now();
  EXPECT_GE(clock->Now(), now);
  EXPECT_LE(absl::AbsDuration(clock->WallNow() - now), absl::Minutes(10));
  EXPECT_LE(absl::AbsDuration(SteadyNow() - clock->Now()), absl::Seconds(10)) << "all agree";
}

TEST(ManualClock, ItsTimeOfDayIsSetByItself) {
  ManualClock clock;
  const absl::Time start = clock.Now();
  clock.StepWall(absl::Hours(1));
  EXPECT_EQ(clock.Now(), start);
  EXPECT_EQ(clock.WallNow(), start + absl::Hours(1));
  EXPECT_EQ(clock.ToWall(start - absl::Minutes(5)), start + absl::Minutes(55));
  EXPECT_EQ(clock.FromWall(start + absl::Hours(2)), start + absl::Hours(1));
  EXPECT_EQ(clock.ToWall(absl::InfinitePast()), absl::InfinitePast());
}

TEST(RealClock, OneMomentIsOneTimeOfDayHoweverBusyTheMachineIs) {
  auto clock = MakeRealClock();
  const absl::Time moment = clock->Now();
  const absl::Time wall = clock->ToWall(moment);
  EXPECT_LE(absl::AbsDuration(clock->WallNow() - clock->ToWall(clock->Now())), absl::Seconds(1));
  // Threads that are torn from their processors now and then, between any two reads.
  std::vector<std::thread> threads;
  std::atomic<int> others = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20'000; ++round) {
        if (absl::AbsDuration(clock->ToWall(moment) - wall) > absl::Milliseconds(2)) ++others;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(others, 0);
}

TEST(ManualClock, OneMomentIsOneTimeOfDayWhileItIsTurned) {
  ManualClock clock;
  const absl::Time start = clock.Now();
  std::thread turning([&] {
    for (int i = 0; i < 20'000; ++i) clock.Advance(absl::Seconds(1));
  });
  int others = 0;
  for (int i = 0; i < 20'000; ++i) others += clock.ToWall(start) != start;
  turning.join();
  EXPECT_EQ(others, 0);
}

TEST(ManualClock, StandsStillUntilItIsTurned) {
  ManualClock clock;
  const absl::Time start = clock.Now();
  std::vector<int> ran;
  clock.RunAfter(absl::Seconds(2), [&] { ran.push_back(2); });
  clock.RunAfter(absl::Seconds(1), [&] { ran.push_back(1); });
  const auto cancelled = clock.RunAfter(absl::Seconds(1), [&] { ran.push_back(3); });
  EXPECT_TRUE(clock.Cancel(cancelled));
  EXPECT_EQ(clock.Now(), start);
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(ran, (std::vector<int>{1}));
  clock.Advance(absl::Seconds(1));
  EXPECT_EQ(ran, (std::vector<int>{1, 2}));
}

}  // namespace
}  // namespace finetune
