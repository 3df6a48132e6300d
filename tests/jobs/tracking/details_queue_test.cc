#include "server/jobs/tracking/details_queue.h"

#include <vector>

#include "gtest/gtest.h"

namespace finetune {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'000'000);

std::vector<std::string> TakeAll(DetailsQueue& queue, absl::Time now) {
  std::vector<std::string> ids;
  while (auto task = queue.Take(now)) ids.push_back(task->upstream_id);
  return ids;
}

TEST(DetailsQueue, TakesWhatAStateIsForBeforeAllElse) {
  DetailsQueue queue;
  queue.Add("a", DetailsQueue::kHint);
  queue.Add("b", DetailsQueue::kConfirm);
  queue.Add("c", DetailsQueue::kPending);
  queue.Add("b", DetailsQueue::kPending);
  EXPECT_EQ(TakeAll(queue, kNow), (std::vector<std::string>{"b", "c", "a"}));
}

TEST(DetailsQueue, TakesAFewUrgentOnesAtATime) {
  DetailsQueue queue;
  for (int i = 0; i < 10; ++i) queue.Add(std::to_string(i), DetailsQueue::kHint);
  std::vector<DetailsQueue::Task> running;
  while (auto task = queue.Take(kNow)) running.push_back(*task);
  EXPECT_EQ(running.size(), 4u);
  EXPECT_EQ(queue.NextStart(), absl::InfiniteFuture());
  queue.Finish(running[0]);
  EXPECT_EQ(queue.NextStart(), absl::InfinitePast());
}

TEST(DetailsQueue, TakesTheRestOneByOneTheNewestJobFirst) {
  DetailsQueue queue;
  queue.set_slow_interval(absl::Seconds(5));
  queue.Add("old", DetailsQueue::kBackfill, {}, 1);
  queue.Add("new", DetailsQueue::kBackfill, {}, 2);
  queue.Add("gone", DetailsQueue::kGone);
  const auto first = queue.Take(kNow);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->upstream_id, "gone");
  EXPECT_FALSE(queue.Take(kNow));
  queue.Finish(*first);
  EXPECT_FALSE(queue.Take(kNow));
  EXPECT_EQ(queue.NextStart(), kNow + absl::Seconds(5));
  const auto second = queue.Take(kNow + absl::Seconds(5));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->upstream_id, "new");
}

TEST(DetailsQueue, AJobIsInItOnceAndComesAgainForWhatCameMeanwhile) {
  DetailsQueue queue;
  queue.Add("a", DetailsQueue::kBackfill);
  queue.Add("a", DetailsQueue::kHint, {kNow, {}});
  queue.Add("a", DetailsQueue::kHint, {kNow + absl::Seconds(1), {}});
  const auto task = queue.Take(kNow);
  ASSERT_TRUE(task);
  EXPECT_EQ(task->why, DetailsQueue::kBackfill | DetailsQueue::kHint);
  EXPECT_EQ(task->hint.time, kNow) << "the earliest";
  EXPECT_FALSE(queue.Take(kNow));
  queue.Add("a", DetailsQueue::kConfirm);
  EXPECT_FALSE(queue.Take(kNow)) << "it is being read";
  queue.Finish(*task);
  const auto again = queue.Take(kNow);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->why, DetailsQueue::kConfirm);
}

}  // namespace
}  // namespace finetune
