#include "server/jobs/watching/watch_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/jobs/watching/watch_shard.h"
#include "tests/jobs/watching/one_shard.h"

namespace finetune {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

VersionPtr Job(const std::string& id, uint64_t revision, const std::string& creator,
               pb::FineTune::State state = pb::FineTune::QUEUED) {
  auto version = std::make_shared<FineTuneVersion>();
  version->id = id;
  version->revision = revision;
  version->creator = creator;
  version->state = state;
  return version;
}

class WatchIndexTest : public OneShardTest {
 protected:
  using WatcherPtr = WatchIndex::WatcherPtr;

  // One of that name that follows these jobs, or all, as far as they match.
  WatcherPtr Add(const std::string& name, std::string_view filter,
                 std::vector<std::string> ids = {}) {
    WatchSpec spec;
    spec.ids = std::move(ids);
    spec.filter = *Filter::Parse(filter);
    const auto watcher = std::make_shared<ShardWatcher>(std::move(spec), &sink_, context_, shard_);
    names_[watcher.get()] = name;
    index_.Add(watcher);
    return watcher;
  }
  bool Remove(const WatcherPtr& watcher) {
    WatcherPtr removed;
    const bool found = index_.Remove(*watcher, removed);
    EXPECT_EQ(removed, found ? watcher : nullptr);
    return found;
  }
  // Who is told of it; `-` if it leaves, `+` if it comes.
  std::vector<std::string> Told(const VersionPtr& before, const VersionPtr& after,
                                bool forgotten = false) {
    const VersionChange change(after, before, absl::UnixEpoch(), "token", forgotten);
    std::vector<WatchIndex::Hit> hits;
    index_.Find(change, hits);
    std::vector<std::string> told;
    for (const auto& [watcher, match] : hits)
      told.push_back((match.before ? match.after ? "" : "-" : "+") + names_.at(watcher.get()));
    return told;
  }

  WatchClient sink_;
  std::map<const ShardWatcher*, std::string> names_;
  WatchIndex index_;
};

TEST_F(WatchIndexTest, FindsThoseWhomAChangeConcernsEachOnce) {
  Add("all", "");
  Add("alice", "creator = alice");
  Add("bob", "creator = bob");
  Add("queued", "state = QUEUED AND creator : ali");
  Add("a", "", {"a", "b"});
  Add("b", "", {"b"});
  EXPECT_THAT(Told(nullptr, Job("a", 1, "alice")),
              UnorderedElementsAre("+all", "+alice", "+queued", "+a"));
  EXPECT_THAT(Told(Job("b", 1, "bob"), Job("b", 2, "bob")),
              UnorderedElementsAre("all", "bob", "a", "b"));
}

TEST_F(WatchIndexTest, FindsThoseWhoseFilterAJobLeavesOrEnters) {
  Add("queued", "state = QUEUED");
  Add("failed", "state = FAILED");
  Add("either", "state = QUEUED OR state = FAILED");
  EXPECT_THAT(Told(Job("a", 1, "x"), Job("a", 2, "x", pb::FineTune::FAILED)),
              UnorderedElementsAre("-queued", "+failed", "either"));
  EXPECT_THAT(Told(Job("a", 1, "x"), Job("a", 2, "x"), /*forgotten=*/true),
              UnorderedElementsAre("-queued", "-either"));
}

TEST_F(WatchIndexTest, HoldsThoseWhoNameJobsToTheirFilter) {
  Add("mine", "creator = alice", {"a"});
  EXPECT_THAT(Told(nullptr, Job("a", 1, "bob")), IsEmpty());
  EXPECT_THAT(Told(nullptr, Job("a", 1, "alice")), UnorderedElementsAre("+mine"));
  EXPECT_THAT(Told(nullptr, Job("b", 1, "alice")), IsEmpty());
}

TEST_F(WatchIndexTest, ForgetsWhoIsRemovedAndNobodyElse) {
  const auto first = Add("first", "creator = alice"), second = Add("second", "creator=\"alice\"");
  const auto named = Add("named", "", {"a", "b"}), all = Add("all", "");
  EXPECT_THAT(index_.All(), UnorderedElementsAre(first, second, named, all));
  EXPECT_TRUE(Remove(first));
  EXPECT_FALSE(Remove(first));
  EXPECT_THAT(Told(nullptr, Job("a", 1, "alice")),
              UnorderedElementsAre("+second", "+named", "+all"));
  EXPECT_TRUE(Remove(named));
  EXPECT_TRUE(Remove(second));
  EXPECT_TRUE(Remove(all));
  EXPECT_FALSE(Remove(named));
  EXPECT_THAT(Told(nullptr, Job("b", 1, "alice")), IsEmpty());
  EXPECT_THAT(index_.All(), IsEmpty());
}

}  // namespace
}  // namespace finetune
