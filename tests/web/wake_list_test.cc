#include "server/web/wake_list.h"

#include <gtest/gtest.h>
#include <poll.h>

namespace finetune {
namespace {

bool IsReadable(const WakeList& list) {
  pollfd polled = {.fd = list.fd(), .events = POLLIN};
  return poll(&polled, 1, 0) == 1;
}

TEST(WakeList, IsReadableUntilItsCallsAreTaken) {
  const auto list = std::make_shared<WakeList>();
  EXPECT_FALSE(IsReadable(*list));
  const auto outlet = list->OutletOf(7, 100);
  outlet->Wake();
  outlet->Cut();
  EXPECT_TRUE(IsReadable(*list));
  const auto calls = list->Take();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].socket, 7);
  EXPECT_EQ(calls[0].connection, 100u);
  EXPECT_FALSE(calls[0].cut);
  EXPECT_TRUE(calls[1].cut);
  EXPECT_FALSE(IsReadable(*list));
  outlet->Wake();
  EXPECT_TRUE(IsReadable(*list));
}

TEST(WakeList, LivesAsLongAsItsOutlets) {
  auto list = std::make_shared<WakeList>();
  const auto outlet = list->OutletOf(7, 100);
  list = nullptr;
  outlet->Wake();
}

}  // namespace
}  // namespace finetune
