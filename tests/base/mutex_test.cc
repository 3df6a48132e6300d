#include "server/base/mutex.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace finetune {
namespace {

TEST(Mutex, LetsOneInAtATime) {
  Mutex mu;
  int count = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) {
        MutexLock lock(mu);
        ++count;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(count, 40'000);
}

TEST(CondVar, WakesWhoWaitsAndTellsATimeout) {
  Mutex mu;
  CondVar changed;
  bool ready = false;
  std::thread other([&] {
    MutexLock lock(mu);
    ready = true;
    changed.NotifyAll();
  });
  {
    MutexLock lock(mu);
    while (!ready) changed.Wait(mu);
    EXPECT_FALSE(changed.WaitFor(mu, absl::ZeroDuration()));
  }
  other.join();
}

TEST(SharedMutex, LetsReadersInTogether) {
  SharedMutex mu;
  ReaderLock first(mu);
  std::thread other([&] { ReaderLock second(mu); });
  other.join();
}

}  // namespace
}  // namespace finetune
