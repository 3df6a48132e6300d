#include "server/base/long_work.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <vector>

#include "server/base/thread.h"
#include "tests/base/manual_clock.h"
#include "tests/base/notification.h"

namespace finetune {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Le;

constexpr size_t kMany = 1'000'000;  // Comparisons: enough that the time is looked at.
constexpr absl::Duration kSlice = LongWork::kSlice;

// A thread's time, turned by hand.
class LongWorkTest : public ::testing::Test {
 protected:
  LongWork::Options Options(int cores) {
    return {.cores = cores,
            .preemptions = [this] { return preemptions_; },
            .rest =
                [this](absl::Duration time) {
                  rests_.push_back(time);
                  clock_.Advance(time);
                }};
  }
  // So many slices of work; another thread takes the core that often within each.
  void Work(LongWork::Piece& piece, int slices, int preempted_in_each) {
    for (int i = 0; i < slices; ++i) {
      clock_.Advance(kSlice);
      preemptions_ += preempted_in_each;
      piece.Step(kMany);
    }
  }
  absl::Duration Rested() const {
    absl::Duration all;
    for (absl::Duration one : rests_) all += one;
    return all;
  }

  ManualClock clock_;
  int64_t preemptions_ = 100;
  std::vector<absl::Duration> rests_;
};

TEST_F(LongWorkTest, DoesNotRestWhereNobodyElseIsShortOfCores) {
  LongWork work(Options(2), clock_);
  LongWork::Piece piece(&work);
  for (int i = 0; i < 100; ++i) {
    Work(piece, 29, 0);
    Work(piece, 1, 1);  // Now and then the kernel has something to do.
  }
  EXPECT_THAT(rests_, IsEmpty());
}

TEST_F(LongWorkTest, RestsAsLongAsItWorksWhileOthersTakeTheCoreFromIt) {
  LongWork work(Options(2), clock_);
  LongWork::Piece piece(&work);
  Work(piece, 100, 1);
  EXPECT_LE(Rested(), 100 * kSlice);
  EXPECT_GE(Rested(), 95 * kSlice);
  EXPECT_THAT(rests_, Each(Le(LongWork::kMostRest)));
}

TEST_F(LongWorkTest, RestsNoMoreSoonAfterOthersHaveWhatTheyNeed) {
  LongWork work(Options(2), clock_);
  LongWork::Piece piece(&work);
  Work(piece, 1000, 2);
  rests_.clear();
  Work(piece, 1000, 0);
  EXPECT_LE(Rested(), LongWork::kMostMemory);
  EXPECT_GT(Rested(), absl::ZeroDuration());
}

TEST_F(LongWorkTest, AlwaysRestsOnASingleCore) {
  LongWork work(Options(1), clock_);
  LongWork::Piece piece(&work);
  Work(piece, 100, 0);
  EXPECT_EQ(Rested(), 100 * kSlice);
}

TEST_F(LongWorkTest, PiecesThatAreShortRestLikeOneThatIsLong) {
  LongWork work(Options(1), clock_);
  for (int i = 0; i < 100; ++i) {
    const LongWork::Piece piece(&work);
    clock_.Advance(kSlice / 2);
  }
  EXPECT_GE(Rested(), 98 * kSlice / 2);
}

TEST_F(LongWorkTest, TimeInWhichNobodyCameCountsAsRest) {
  LongWork work(Options(1), clock_);
  for (int i = 0; i < 100; ++i) {
    {
      LongWork::Piece piece(&work);
      clock_.Advance(2 * kSlice);
    }
    clock_.Advance(2 * kSlice);
  }
  EXPECT_THAT(rests_, IsEmpty());
}

TEST_F(LongWorkTest, WhatWasNotItsOwnWorkIsNotRestedFor) {
  LongWork work(Options(1), clock_);
  LongWork::Piece piece(&work);
  clock_.Advance(absl::Seconds(3));  // Others had the core, or the machine slept.
  piece.Step(kMany);
  EXPECT_THAT(rests_, ElementsAre(LongWork::kMostRest));
}

TEST_F(LongWorkTest, LooksAtNoTimeForAFewComparisons) {
  LongWork work(Options(1), clock_);
  LongWork::Piece piece(&work);
  clock_.Advance(absl::Seconds(1));
  for (int i = 0; i < 100; ++i) piece.Step(10);
  EXPECT_THAT(rests_, IsEmpty());
}

TEST_F(LongWorkTest, DoesNotRestOnceItIsToHurry) {
  LongWork work(Options(1), clock_);
  LongWork::Piece piece(&work);
  work.Hurry();
  Work(piece, 100, 5);
  EXPECT_THAT(rests_, IsEmpty());
}

// Begins a piece on a thread of its own, which ends with this.
class Other {
 public:
  explicit Other(LongWork& work)
      : thread_("other", [this, &work] {
          about_to_.Notify();
          const LongWork::Piece piece(&work);
          begun_.Notify();
          end_.WaitForNotification();
        }) {
    about_to_.WaitForNotification();
  }
  ~Other() {
    end_.Notify();
    thread_.Join();
  }
  void AwaitBegin() { begun_.WaitForNotification(); }
  bool has_begun() { return begun_.HasBeenNotified(); }

 private:
  Notification about_to_, begun_, end_;
  Thread thread_;
};

TEST_F(LongWorkTest, HalfOfTheCoresWorkAtOnce) {
  LongWork work(Options(4), clock_);
  const LongWork::Piece one(&work);
  std::optional<Other> two(std::in_place, work);
  two->AwaitBegin();
  Other three(work);
  EXPECT_FALSE(three.has_begun());
  two.reset();
  three.AwaitBegin();
}

TEST_F(LongWorkTest, WhoWaitsComesInAfterASlice) {
  LongWork work(Options(2), clock_);
  LongWork::Piece mine(&work);
  Notification done;
  Thread other("other", [&] {
    { const LongWork::Piece theirs(&work); }
    done.Notify();
  });
  while (!done.HasBeenNotified()) Work(mine, 1, 0);
  other.Join();
}

TEST_F(LongWorkTest, NobodyWaitsOnceItIsToHurry) {
  LongWork work(Options(2), clock_);
  const LongWork::Piece mine(&work);
  Other one(work), two(work);
  work.Hurry();
  one.AwaitBegin();
  two.AwaitBegin();
  Other three(work);
  three.AwaitBegin();
}

}  // namespace
}  // namespace finetune
