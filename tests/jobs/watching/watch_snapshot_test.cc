#include "server/jobs/watching/watch_snapshot.h"

#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

class WatchSnapshotTest : public ::testing::Test {
 protected:
  // The catalog as it is after one more change.
  ViewPtr NextView() {
    EXPECT_TRUE(jobs_.Put(MakeJob(absl::StrCat("job-", ++made_))).ok());
    return jobs_.catalog.view();
  }
  bool IsThere(const WatchSnapshotPtr& snapshot) { return snapshot->View(now_) != nullptr; }

  JobsFixture jobs_;
  WatchSnapshots snapshots_;
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  int made_ = 0;
};

TEST_F(WatchSnapshotTest, IsSharedByAllThatWalkOneView) {
  const ViewPtr view = NextView();
  const WatchSnapshotPtr first = snapshots_.Of(view, now_);
  EXPECT_EQ(snapshots_.Of(view, now_), first);
  EXPECT_EQ(first->View(now_), view);
  EXPECT_NE(snapshots_.Of(NextView(), now_), first);
}

TEST_F(WatchSnapshotTest, ThoseOnWhichNobodyGoesOnMakeRoomForOthers) {
  std::vector<WatchSnapshotPtr> all;
  std::vector<std::weak_ptr<const CatalogView>> views;
  for (size_t i = 0; i < WatchSnapshots::kKept; ++i) {
    const ViewPtr view = NextView();
    views.push_back(view);
    all.push_back(snapshots_.Of(view, now_));
  }
  now_ += WatchSnapshots::kStill;
  EXPECT_TRUE(IsThere(all[0])) << "it goes on now";
  all.push_back(snapshots_.Of(NextView(), now_));
  EXPECT_TRUE(views[1].expired());
  EXPECT_TRUE(IsThere(all[0]));
  EXPECT_FALSE(IsThere(all[1]));
  for (size_t i = 2; i < all.size(); ++i) EXPECT_TRUE(IsThere(all[i])) << i;
}

TEST_F(WatchSnapshotTest, WhileAllGoOnThereMayBeMoreButNotAnyNumber) {
  std::vector<WatchSnapshotPtr> all;
  for (size_t i = 0; i < WatchSnapshots::kMost; ++i) {
    all.push_back(snapshots_.Of(NextView(), now_));
    now_ += absl::Microseconds(1);
  }
  for (const WatchSnapshotPtr& one : all) {
    EXPECT_TRUE(IsThere(one));
    now_ += absl::Microseconds(1);
  }
  snapshots_.Of(NextView(), now_);
  EXPECT_FALSE(IsThere(all[0]));
  EXPECT_TRUE(IsThere(all[1]));
}

}  // namespace
}  // namespace finetune
