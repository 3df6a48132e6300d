#include "server/idle_memory.h"

#include <gtest/gtest.h>

#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

constexpr int64_t kMb = 1 << 20;

class IdleMemoryTest : public ::testing::Test {
 protected:
  int64_t resident_ = 100 * kMb;
  int64_t in_use_ = 100 * kMb;  // What a trim leaves.
  int trims_ = 0;
  ManualClock clock_;
  Metrics metrics_;
  IdleMemory memory_{clock_,
                     metrics_,
                     {[this] { return resident_; },
                      [this] {
                        ++trims_;
                        resident_ = in_use_;
                      }}};
};

TEST_F(IdleMemoryTest, LeavesAProcessAloneThatHasNotGrown) {
  for (int i = 0; i < 10; ++i) EXPECT_EQ(memory_.Look(), absl::Seconds(10));
  resident_ = 130 * kMb;
  EXPECT_EQ(memory_.Look(), absl::Seconds(10));
  EXPECT_EQ(trims_, 0);
}

TEST_F(IdleMemoryTest, GivesBackWhatAWaveLeaves) {
  memory_.Look();
  resident_ = 400 * kMb;
  in_use_ = 110 * kMb;
  EXPECT_EQ(memory_.Look(), absl::Seconds(10));
  EXPECT_EQ(trims_, 1);
  EXPECT_EQ(resident_, 110 * kMb);
  memory_.Look();
  EXPECT_EQ(trims_, 1);
  for (const auto& family : metrics_.registry()->Collect())
    EXPECT_EQ(family.metric[0].counter.value, 290.0 * kMb);
}

TEST_F(IdleMemoryTest, GivesBackWhatAWaveLeavesThatCameAtOnce) {
  memory_.Start();
  resident_ = 400 * kMb;
  in_use_ = 110 * kMb;
  memory_.Look();
  EXPECT_EQ(resident_, 110 * kMb);
}

TEST_F(IdleMemoryTest, LooksLessOftenWhileItIsInUseAndNeverStopsLooking) {
  memory_.Look();
  resident_ = in_use_ = 400 * kMb;
  EXPECT_EQ(memory_.Look(), absl::Seconds(20));
  EXPECT_EQ(memory_.Look(), absl::Seconds(40));
  EXPECT_EQ(memory_.Look(), absl::Seconds(60));
  EXPECT_EQ(memory_.Look(), absl::Seconds(60));
  in_use_ = 100 * kMb;
  EXPECT_EQ(memory_.Look(), absl::Seconds(10));
  EXPECT_EQ(resident_, 100 * kMb);
}

TEST_F(IdleMemoryTest, LooksByItself) {
  memory_.Start();
  EXPECT_EQ(clock_.timers(), 1u);
}

}  // namespace
}  // namespace finetune
