#include "server/base/worker.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/base/notification.h"

namespace finetune {
namespace {

TEST(Worker, RunsTasksInOrderOnItsThread) {
  Worker worker("test");
  std::vector<int> ran;
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(worker.Post([&, i] {
      EXPECT_TRUE(worker.IsCurrent());
      ran.push_back(i);
    }));
  }
  EXPECT_FALSE(worker.IsCurrent());
  worker.Stop();
  ASSERT_EQ(ran.size(), 100);
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
}

TEST(Worker, RunsWhatWasQueuedBeforeStopAndRefusesTheRest) {
  Worker worker("test");
  Notification go;
  int ran = 0;
  worker.Post([&] { go.WaitForNotification(); });
  worker.Post([&] { ++ran; });
  go.Notify();
  worker.Stop();
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(worker.Post([&] { ++ran; }));
  worker.Stop();
  EXPECT_EQ(ran, 1);
}

TEST(Worker, TakesTasksFromManyThreadsAndFromTasks) {
  Worker worker("test");
  std::atomic<int> ran = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        worker.Post([&] {
          ++ran;
          worker.Post([&] { ++ran; });
        });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  Notification done;
  worker.Post([&] { worker.Post([&] { done.Notify(); }); });
  done.WaitForNotification();
  EXPECT_EQ(ran, 800);
}

}  // namespace
}  // namespace finetune
