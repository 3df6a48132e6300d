#include "server/jobs/watching/watch_waiter.h"

#include <gtest/gtest.h>

#include <thread>

namespace finetune {
namespace {

TEST(IdleWaiterTest, ReturnsAtOnceWhenItWasWokenBefore) {
  IdleWaiter waiter;
  waiter.Wake();
  waiter.Wake();
  waiter.Wait();
}

TEST(IdleWaiterTest, ReturnsForEachWakeAfterTheLastReturn) {
  IdleWaiter waiter;
  IdleWaiter back;
  std::thread other([&] {
    for (int i = 0; i < 1000; ++i) {
      waiter.Wait();
      back.Wake();
    }
  });
  for (int i = 0; i < 1000; ++i) {
    waiter.Wake();
    back.Wait();
  }
  other.join();
}

}  // namespace
}  // namespace finetune
