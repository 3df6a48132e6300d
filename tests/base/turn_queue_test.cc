#include "server/base/turn_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/base/notification.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;

class TurnQueueTest : public ::testing::Test {
 protected:
  // Keeps the queue's thread busy until go_.
  void Block() {
    queue_.Post(nullptr, [this] {
      begun_.Notify();
      go_.WaitForNotification();
    });
    begun_.WaitForNotification();
  }
  uint64_t Post(const Sharer& sharer, const std::string& name) {
    return queue_.Post(&sharer, [this, name] { ran_.push_back(name); });
  }
  void RunAll() {
    go_.Notify();
    queue_.Stop();
  }

  Notification begun_, go_;
  std::vector<std::string> ran_;  // Queue's thread, until RunAll.
  Sharer mallory_{"mallory"}, alice_{"alice"}, nobody_else_{"x"};
  TurnQueue queue_{"scans"};
};

TEST_F(TurnQueueTest, CallersTakeTurns) {
  Block();
  for (const char* name : {"m1", "m2", "m3", "m4"}) Post(mallory_, name);
  for (const char* name : {"a1", "a2"}) Post(alice_, name);
  RunAll();
  EXPECT_THAT(ran_, ElementsAre("m1", "a1", "m2", "a2", "m3", "m4"));
}

TEST_F(TurnQueueTest, WhatIsDroppedDoesNotRun) {
  Block();
  const uint64_t first = Post(mallory_, "m1");
  Post(alice_, "a1");
  const uint64_t third = Post(mallory_, "m2");
  const uint64_t only = Post(nobody_else_, "x");
  EXPECT_TRUE(queue_.Drop(third));
  EXPECT_TRUE(queue_.Drop(only));
  EXPECT_FALSE(queue_.Drop(third));
  EXPECT_FALSE(queue_.Drop(12345));
  RunAll();
  EXPECT_THAT(ran_, ElementsAre("m1", "a1"));
  EXPECT_FALSE(queue_.Drop(first)) << "it has run";
}

TEST_F(TurnQueueTest, TakesNothingOnceItIsStopped) {
  queue_.Stop();
  EXPECT_EQ(Post(alice_, "a"), 0u);
}

}  // namespace
}  // namespace finetune
