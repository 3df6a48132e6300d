#include "server/jobs/watching/snapshot_walk.h"

#include <gmock/gmock.h>

#include "tests/jobs/watching/one_shard.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SnapshotWalkTest : public OneShardTest {
 protected:
  using Result = SnapshotWalk::Result;

  Result Next(const WatchSpec& spec, size_t comparisons = 1'000) {
    return walk_.Next(spec, clock_.Now(), comparisons, message_);
  }
  // What is still to come, and how it ends.
  std::vector<std::string> Rest(const WatchSpec& spec, Result end = Result::kEnd) {
    std::vector<std::string> shown;
    Result result;
    while ((result = Next(spec)) == Result::kJob) {
      const auto change = Decode(message_).change();
      EXPECT_EQ(change.type(), pb::Change::SNAPSHOT);
      shown.push_back(IdOfChange(Decode(message_)));
    }
    EXPECT_EQ(result, end);
    return shown;
  }

  SnapshotWalk walk_;
  grpc::ByteBuffer message_;
};

TEST_F(SnapshotWalkTest, ShowsTheJobsAsTheyWereInTheOrderOfTheirRevisions) {
  world_.Put("a", kQueued);
  world_.Put("b", kQueued);
  world_.Put("a", kTraining);
  const WatchSpec spec = Spec();
  walk_.Begin(spec, /*skip=*/false, *context_);
  EXPECT_EQ(walk_.revision(), 3u);
  world_.Put("c", kQueued);
  EXPECT_THAT(Rest(spec), ElementsAre("b", "a"));
  EXPECT_THAT(Rest(spec), IsEmpty()) << "the end stays the end";
}

TEST_F(SnapshotWalkTest, ShowsOnlyWhatTheFilterLetsThrough) {
  world_.Put("a", kQueued);
  world_.Put("b", kFailed);
  const WatchSpec spec = Spec("state = FAILED");
  walk_.Begin(spec, /*skip=*/false, *context_);
  EXPECT_THAT(Rest(spec), ElementsAre("b"));
}

TEST_F(SnapshotWalkTest, ShowsTheNamedOnesThatThereAreAsTheyWere) {
  for (const char* id : {"a", "b", "c"}) world_.Put(id, kQueued);
  world_.Put("a", kTraining);
  WatchSpec spec = Spec();
  spec.ids = {"a", "never", "b"};
  walk_.Begin(spec, /*skip=*/false, *context_);
  world_.Put("b", kFailed);
  world_.Put("never", kQueued);
  EXPECT_THAT(Rest(spec), ElementsAre("b", "a"));
  EXPECT_EQ(Decode(message_).change().fine_tune().state(), kTraining);
}

TEST_F(SnapshotWalkTest, HasTheRevisionAndNoJobIfItIsSkipped) {
  world_.Put("a", kQueued);
  const WatchSpec spec = Spec();
  walk_.Begin(spec, /*skip=*/true, *context_);
  EXPECT_EQ(walk_.revision(), 1u);
  EXPECT_THAT(Rest(spec), IsEmpty());
}

TEST_F(SnapshotWalkTest, StopsAfterSoManyComparisonsAndGoesOnFromThere) {
  for (int i = 0; i < 10; ++i) world_.Put(std::to_string(i), i < 9 ? kQueued : kFailed);
  const WatchSpec spec = Spec("state = FAILED");
  walk_.Begin(spec, /*skip=*/false, *context_);
  int pauses = 0;
  Result result;
  while ((result = Next(spec, /*comparisons=*/6)) == Result::kEnough) ++pauses;
  EXPECT_EQ(result, Result::kJob);
  EXPECT_EQ(IdOfChange(Decode(message_)), "9");
  // Each job costs a look and a comparison.
  EXPECT_EQ(pauses, 3);
  EXPECT_EQ(Next(spec, 6), Result::kEnd);
}

TEST_F(SnapshotWalkTest, SaysWhenTheJobsAsTheyWereWereTakenAway) {
  const WatchSpec spec = Spec();
  world_.Put("a", kQueued);
  world_.Put("b", kQueued);
  walk_.Begin(spec, /*skip=*/false, *context_);
  EXPECT_EQ(Next(spec), Result::kJob);
  // Others walk so many newer ones that this one makes room.
  std::vector<SnapshotWalk> others(WatchSnapshots::kKept + 1);
  for (SnapshotWalk& other : others) {
    clock_.Advance(WatchSnapshots::kStill);
    world_.Put("a", kTraining);
    world_.Put("a", kQueued);
    other.Begin(spec, /*skip=*/false, *context_);
  }
  EXPECT_EQ(Next(spec), Result::kTakenAway);
}

TEST_F(SnapshotWalkTest, HandsOutItsHoldOnTheJobsAtTheEnd) {
  const WatchSpec spec = Spec();
  world_.Put("a", kQueued);
  walk_.Begin(spec, /*skip=*/false, *context_);
  const WatchSnapshotPtr held = walk_.End();
  ASSERT_NE(held, nullptr);
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(walk_.End(), nullptr);
}

}  // namespace
}  // namespace finetune
