#include "server/base/worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
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

TEST(Worker, RunsAtOnceWhatFindsItIdle) {
  Worker worker("test");
  bool ran = false;
  EXPECT_TRUE(worker.RunOrPost([&] {
    EXPECT_FALSE(worker.IsCurrent());
    ran = true;
  }));
  EXPECT_TRUE(ran);
  worker.Stop();
  EXPECT_FALSE(worker.RunOrPost([] { FAIL(); }));
}

TEST(Worker, RunsNothingBesideWhatRunsAtOnce) {
  Worker worker("test");
  std::vector<std::string> ran;
  worker.RunOrPost([&] {
    worker.Post([&] { ran.push_back("posted"); });
    worker.RunOrPost([&] { ran.push_back("posted within"); });
    ran.push_back("at once");
  });
  worker.Stop();
  EXPECT_EQ(ran, (std::vector<std::string>{"at once", "posted", "posted within"}));
}

TEST(Worker, RunsAtOnceNothingThatWouldOvertake) {
  Worker worker("test");
  Notification begun, go;
  std::vector<int> ran;
  worker.Post([&] {
    begun.Notify();
    go.WaitForNotification();
    ran.push_back(1);
  });
  begun.WaitForNotification();
  worker.RunOrPost([&] {
    EXPECT_TRUE(worker.IsCurrent());
    ran.push_back(2);
  });
  go.Notify();
  worker.Stop();
  EXPECT_EQ(ran, (std::vector<int>{1, 2}));
}

TEST(Worker, StopWaitsForWhatRunsAtOnce) {
  Worker worker("test");
  Notification begun, go;
  std::atomic<bool> ended = false;
  std::thread other([&] {
    worker.RunOrPost([&] {
      begun.Notify();
      go.WaitForNotification();
      ended = true;
    });
  });
  begun.WaitForNotification();
  bool had_ended = false;
  std::thread stopper([&] {
    worker.Stop();
    had_ended = ended;
  });
  // Once a task is refused, Stop has begun.
  while (worker.Post([] {})) std::this_thread::yield();
  EXPECT_FALSE(ended);
  go.Notify();
  stopper.join();
  EXPECT_TRUE(had_ended);
  other.join();
}

TEST(Worker, TasksOfManyThreadsThatRunAtOnceNeverMeet) {
  Worker worker("test");
  int count = 0;  // Not atomic: they run one after another.
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        if (i % 3 == 0)
          worker.Post([&] { ++count; });
        else
          worker.RunOrPost([&] { ++count; });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  worker.Stop();
  EXPECT_EQ(count, 4000);
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

TEST(Worker, TheProcessIsIdleOnceNoWorkerHasAnythingToDo) {
  Worker::AwaitIdleProcess();
  Worker first("first"), second("second");
  std::atomic<int> ran = 0;
  first.Post([&] {
    ++ran;
    second.RunOrPost([&] {
      ++ran;
      first.Post([&] { ++ran; });
    });
  });
  Worker::AwaitIdleProcess();
  EXPECT_EQ(ran, 3);
}

TEST(Worker, WhatIsRefusedKeepsNobodyWaiting) {
  Worker worker("test");
  worker.Stop();
  EXPECT_FALSE(worker.Post([] {}));
  EXPECT_FALSE(worker.RunOrPost([] {}));
  Worker::AwaitIdleProcess();
}

}  // namespace
}  // namespace finetune
