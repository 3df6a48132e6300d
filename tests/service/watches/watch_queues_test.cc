#include "server/service/watches/watch_queues.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "server/service/calls/queue_event.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;

// Notes its name when it happens.
class NamedEvent final : public QueueEvent {
 public:
  NamedEvent(std::string name, std::vector<std::string>& seen)
      : name_(std::move(name)), seen_(seen) {}
  void OnEvent(bool ok) override { seen_.push_back(ok ? name_ : name_ + " failed"); }
  void HappenOn(grpc::CompletionQueue& queue) {
    alarm_.Set(&queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), this);
  }

 private:
  const std::string name_;
  std::vector<std::string>& seen_;
  grpc::Alarm alarm_;
};

TEST(WatchQueueTest, HandlesWhatHappenedUntilItIsWoken) {
  std::vector<std::string> seen;
  WatchQueue queue;
  NamedEvent first("first", seen), second("second", seen), after("after", seen);
  first.HappenOn(queue.queue());
  second.HappenOn(queue.queue());
  queue.Wake();
  after.HappenOn(queue.queue());
  queue.Wait();
  EXPECT_THAT(seen, ElementsAre("first", "second"));
  queue.Wake();
  queue.Wait();
  EXPECT_THAT(seen, ElementsAre("first", "second", "after"));
}

TEST(WatchQueueTest, ReturnsOnceForWakesThatCameBeforeIt) {
  std::vector<std::string> seen;
  WatchQueue queue;
  queue.Wake();
  queue.Wake();
  queue.Wait();
  NamedEvent later("later", seen);
  std::thread waker([&] {
    later.HappenOn(queue.queue());
    queue.Wake();
  });
  queue.Wait();
  waker.join();
  EXPECT_THAT(seen, ElementsAre("later"));
}

TEST(WatchQueueTest, LosesNoWakeThatMeetsAReturn) {
  WatchQueue queue;
  IdleWaiter back;
  std::thread waiting([&] {
    for (int i = 0; i < 1000; ++i) {
      queue.Wait();
      back.Wake();
    }
  });
  for (int i = 0; i < 1000; ++i) {
    queue.Wake();
    back.Wait();
  }
  waiting.join();
}

TEST(WatchQueuesTest, GiveStreamsTheirQueuesInTurn) {
  WatchQueues queues(3);
  EXPECT_EQ(queues.waiters().size(), 3);
  std::set<size_t> first{queues.Next(), queues.Next(), queues.Next()};
  EXPECT_EQ(first.size(), 3);
  EXPECT_TRUE(first.contains(queues.Next()));
}

}  // namespace
}  // namespace finetune
