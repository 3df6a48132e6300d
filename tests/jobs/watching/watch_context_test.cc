#include "server/jobs/watching/watch_context.h"

#include <gtest/gtest.h>

#include <set>

#include "server/base/error.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

class WatchContextTest : public ::testing::Test {
 protected:
  ManualClock clock_;
  Metrics metrics_;
  Catalog catalog_{{}, metrics_};
  WatchContext context_{WatchHub::Options(), catalog_, clock_, metrics_};
};

TEST_F(WatchContextTest, TellsOnceWhenTheLastOneHasLeftAClosedHub) {
  int empty = 0;
  ASSERT_TRUE(context_.Admit().ok());
  ASSERT_TRUE(context_.Admit().ok());
  context_.Close([&] { ++empty; });
  context_.Leave();
  EXPECT_EQ(empty, 0);
  context_.Leave();
  EXPECT_EQ(empty, 1);
  EXPECT_EQ(context_.count(), 0);
}

TEST_F(WatchContextTest, TellsAtOnceWhereThereIsNobody) {
  int empty = 0;
  context_.Close([&] { ++empty; });
  EXPECT_EQ(empty, 1);
}

TEST_F(WatchContextTest, LetsNobodyInOnceItIsClosed) {
  context_.Close(nullptr);
  const absl::Status status = context_.Admit();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::SERVER_DRAINING);
  EXPECT_EQ(context_.count(), 0);
}

TEST_F(WatchContextTest, EachReloadIsAnother) {
  const uint64_t before = context_.reloads();
  context_.NextReload();
  EXPECT_NE(context_.reloads(), before);
}

TEST(WatchEnd, SendsClientsBackAtDifferentTimes) {
  std::set<absl::Duration> delays;
  for (int i = 0; i < 100; ++i) {
    const auto delay = RetryDelayOf(WatchEnds("why"));
    ASSERT_TRUE(delay);
    EXPECT_GE(*delay, absl::Milliseconds(100));
    EXPECT_LE(*delay, absl::Seconds(1));
    delays.insert(*delay);
  }
  EXPECT_GT(delays.size(), 20u);
  EXPECT_EQ(ReasonOf(WatchIsOutdated()), pb::ErrorReason::SERVER_DRAINING);
}

}  // namespace
}  // namespace finetune
