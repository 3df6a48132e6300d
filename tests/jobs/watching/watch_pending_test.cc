#include "server/jobs/watching/watch_pending.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace finetune {
namespace {

VersionPtr Job(const std::string& id, uint64_t revision) {
  auto version = std::make_shared<FineTuneVersion>();
  version->id = id;
  version->revision = revision;
  return version;
}

ChangePtr Created(const std::string& id, uint64_t revision) {
  return std::make_shared<VersionChange>(Job(id, revision), nullptr, absl::Now(), "token");
}
ChangePtr Updated(const std::string& id, uint64_t revision) {
  return std::make_shared<VersionChange>(Job(id, revision), Job(id, revision - 1), absl::Now(),
                                         "token");
}

constexpr WatchMatch kEnters{.before = false, .after = true};
constexpr WatchMatch kStays{.before = true, .after = true};
constexpr WatchMatch kLeaves{.before = true, .after = false};

std::vector<std::string> All(WatchPending& pending) {
  std::vector<std::string> all;
  while (auto next = pending.Pop()) {
    all.push_back(absl::StrCat(pb::Change::Type_Name(next->type), " ", next->change->after()->id,
                               "@", next->change->revision()));
  }
  return all;
}

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(WatchPending, KeepsTheLatestChangeOfEachJobInTheOrderOfTheLatest) {
  WatchPending pending;
  pending.Add(Updated("a", 3), kStays);
  pending.Add(Updated("b", 4), kStays);
  pending.Add(Updated("a", 5), kStays);
  EXPECT_EQ(pending.size(), 2);
  EXPECT_THAT(All(pending), ElementsAre("UPDATED b@4", "UPDATED a@5"));
  EXPECT_TRUE(pending.empty());
}

TEST(WatchPending, MergesACreationWithWhatFollowsIntoACreation) {
  WatchPending pending;
  pending.Add(Created("a", 1), kEnters);
  pending.Add(Updated("a", 2), kStays);
  EXPECT_THAT(All(pending), ElementsAre("CREATED a@2"));
}

TEST(WatchPending, SaysNothingOfAJobThatCameAndLeftUnseen) {
  WatchPending pending;
  pending.Add(Updated("a", 2), kEnters);
  pending.Add(Updated("a", 3), kLeaves);
  EXPECT_THAT(All(pending), IsEmpty());
}

TEST(WatchPending, SaysThatAJobLeftWhichTheClientHas) {
  WatchPending pending;
  pending.Add(Updated("a", 2), kStays);
  pending.Add(Updated("a", 3), kLeaves);
  EXPECT_THAT(All(pending), ElementsAre("LEFT_FILTER a@3"));
}

TEST(WatchPending, MergesLeavingAndComingBackIntoAnUpdate) {
  WatchPending pending;
  pending.Add(Updated("a", 2), kLeaves);
  pending.Add(Updated("a", 3), kEnters);
  EXPECT_THAT(All(pending), ElementsAre("UPDATED a@3"));
}

TEST(WatchPending, SaysThatAJobLeftWhichTheClientMayHave) {
  WatchPending pending;
  pending.Add(Updated("a", 2), kEnters, /*may_have=*/true);
  pending.Add(Updated("a", 3), kLeaves, /*may_have=*/true);
  pending.Add(Created("b", 4), kEnters, /*may_have=*/true);
  pending.Add(Updated("b", 5), kLeaves, /*may_have=*/true);
  EXPECT_THAT(All(pending), ElementsAre("LEFT_FILTER a@3"));
}

TEST(WatchPending, IgnoresAChangeThatDoesNotConcernIt) {
  WatchPending pending;
  pending.Add(Updated("a", 2), {});
  EXPECT_TRUE(pending.empty());
}

}  // namespace
}  // namespace finetune
