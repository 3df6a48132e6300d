#include "server/segmind/turn_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <tuple>
#include <vector>

namespace finetune {
namespace {

using ::testing::ElementsAre;

std::vector<const CallWant*> PointersTo(const std::deque<CallWant>& wants) {
  std::vector<const CallWant*> pointers;
  for (const CallWant& want : wants) pointers.push_back(&want);
  return pointers;
}

class TurnOrderTest : public ::testing::Test {
 protected:
  void Made(const std::shared_ptr<Sharer>& sharer, int calls) {
    for (int i = 0; i < calls; ++i)
      made_.Add({absl::UnixEpoch(), {CallPriority::kInteractive, sharer}});
  }

  const std::shared_ptr<Sharer> alice_ = std::make_shared<Sharer>("alice");
  const std::shared_ptr<Sharer> bob_ = std::make_shared<Sharer>("bob");
  MadeCalls made_;
};

TEST_F(TurnOrderTest, IsByPriorityThenByCallsMadeThenByComing) {
  const std::deque<CallWant> wants = {{CallPriority::kBackground, nullptr},
                                      {CallPriority::kInteractive, alice_},
                                      {CallPriority::kInteractive, alice_},
                                      {CallPriority::kInteractive, bob_},
                                      {CallPriority::kSubmit, alice_}};
  Made(bob_, 1);
  const auto waiting = PointersTo(wants);
  TurnOrder order(waiting, made_);
  std::vector<size_t> walked;
  while (const auto next = order.Next()) {
    walked.push_back(*next);
    order.Keep();
  }
  EXPECT_THAT(walked, ElementsAre(4, 1, 2, 3, 0));
}

TEST_F(TurnOrderTest, TellsWhatIsAhead) {
  const std::deque<CallWant> wants = {{CallPriority::kInteractive, alice_},
                                      {CallPriority::kSubmit, alice_},
                                      {CallPriority::kInteractive, bob_}};
  const auto waiting = PointersTo(wants);
  TurnOrder order(waiting, made_);
  EXPECT_EQ(order.Next(), 1u);
  EXPECT_TRUE(order.Ahead().none());
  order.Keep();
  EXPECT_EQ(order.Next(), 0u);
  EXPECT_EQ(order.Ahead().own, 1u);
  EXPECT_EQ(order.Ahead().In(CallGroup::kSubmits), 1u);
  order.Keep();
  EXPECT_EQ(order.Next(), 2u);
  EXPECT_EQ(order.Ahead().own, 0u);
  EXPECT_EQ(order.Ahead().In(CallGroup::kAll), 2u);
  EXPECT_EQ(order.Ahead().In(CallGroup::kNotSubmits), 1u);
  EXPECT_EQ(order.Next(), std::nullopt);
}

TEST_F(TurnOrderTest, WhoIsNotKeptDelaysNobody) {
  const std::deque<CallWant> wants = {{CallPriority::kInteractive, alice_},
                                      {CallPriority::kInteractive, alice_},
                                      {CallPriority::kInteractive, bob_}};
  const auto waiting = PointersTo(wants);
  TurnOrder order(waiting, made_);
  EXPECT_EQ(order.Next(), 0u);
  // Alice's second call takes the place of her first one, and so comes before Bob's.
  EXPECT_EQ(order.Next(), 1u);
  EXPECT_TRUE(order.Ahead().none());
}

// What goes before number `i`, counted one by one.
CallsAhead CountAhead(const std::vector<const CallWant*>& waiting, const MadeCalls& made,
                      size_t i) {
  const auto rank = [&](size_t of) {
    size_t calls = made.By(waiting[of]->sharer.get()).size();
    for (size_t other = 0; other < of; ++other)
      if (waiting[other]->sharer == waiting[of]->sharer &&
          waiting[other]->priority == waiting[of]->priority)
        ++calls;
    return std::tuple(waiting[of]->priority, calls, of);
  };
  CallsAhead ahead;
  for (size_t other = 0; other < waiting.size(); ++other) {
    if (rank(other) >= rank(i)) continue;
    for (size_t group = 0; group < kCallGroups; ++group)
      if (IsIn(static_cast<CallGroup>(group), waiting[other]->priority)) ++ahead.groups[group];
    if (waiting[other]->sharer == waiting[i]->sharer) ++ahead.own;
  }
  return ahead;
}

TEST_F(TurnOrderTest, AgreesWithCountingOneByOne) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    const std::vector<std::shared_ptr<Sharer>> sharers = {nullptr, alice_, bob_,
                                                          std::make_shared<Sharer>("carol")};
    MadeCalls made;
    for (size_t i = random() % 10; i > 0; --i)
      made.Add({absl::UnixEpoch(), {CallPriority::kInteractive, sharers[random() % 4]}});
    std::deque<CallWant> wants;
    for (size_t i = random() % 20; i > 0; --i)
      wants.push_back({static_cast<CallPriority>(random() % 3), sharers[random() % 4]});
    auto waiting = PointersTo(wants);
    TurnOrder order(waiting, made);
    std::vector<const CallWant*> left = waiting;
    while (const auto next = order.Next()) {
      const auto at = std::find(left.begin(), left.end(), waiting[*next]);
      const CallsAhead counted = CountAhead(left, made, at - left.begin());
      EXPECT_EQ(order.Ahead().groups, counted.groups);
      EXPECT_EQ(order.Ahead().own, counted.own);
      if (random() % 3 == 0)
        left.erase(at);
      else
        order.Keep();
    }
  }
}

}  // namespace
}  // namespace finetune
