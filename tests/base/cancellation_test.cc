#include "server/base/cancellation.h"

#include <gtest/gtest.h>

#include <memory>

namespace finetune {
namespace {

TEST(Cancellation, RunsEachActionOnce) {
  Cancellation cancellation;
  int ran = 0;
  cancellation.OnCancelDo([&] { ++ran; });
  cancellation.OnCancelDo([&] { ++ran; });
  EXPECT_FALSE(cancellation.cancelled());
  EXPECT_EQ(ran, 0);
  cancellation.Cancel();
  cancellation.Cancel();
  EXPECT_TRUE(cancellation.cancelled());
  EXPECT_EQ(ran, 2);
  // Too late: at once.
  cancellation.OnCancelDo([&] { ++ran; });
  EXPECT_EQ(ran, 3);
}

TEST(Cancellation, HoldsNoLockWhileAnActionRuns) {
  Cancellation cancellation;
  bool ran = false;
  cancellation.OnCancelDo(
      [&] { cancellation.OnCancelDo([&] { ran = cancellation.cancelled(); }); });
  cancellation.Cancel();
  EXPECT_TRUE(ran);
}

TEST(Cancellation, LetsGoOfWhatItsActionsHold) {
  auto held = std::make_shared<int>(1);
  Cancellation cancellation;
  cancellation.OnCancelDo([held] {});
  EXPECT_EQ(held.use_count(), 2);
  cancellation.Cancel();
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace finetune
