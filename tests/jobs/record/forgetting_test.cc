#include "server/jobs/record/forgetting.h"

#include "tests/base/manual_clock.h"
#include "tests/jobs/record/draft_rig.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kAfter = absl::Hours(24);
constexpr uint64_t kAnyEra = 1;

class ForgettingTest : public DraftRig {
 protected:
  static record::FineTuneRecord Lost(const std::string& id, const std::string& creator = "") {
    record::FineTuneRecord record = MakeJob(id, pb::FineTune::LOST);
    record.mutable_fine_tune()->set_creator(creator);
    return record;
  }
  // What goes at once, with all that was put before.
  std::vector<std::string> Forget(absl::Time now) {
    Next(now);
    forgetting_.ForgetLostJobs(*draft_);
    std::vector<std::string> gone;
    for (const ChangePtr& change : draft_->changes())
      if (change->forgotten()) gone.push_back(change->after()->id);
    return gone;
  }
  StoreBatch Described(uint64_t revision, uint64_t era = kAnyEra) {
    StoreBatch batch;
    forgetting_.Describe({.era = era, .seq = 1, .revision = revision}, batch);
    return batch;
  }

  ManualClock clock_;
  Forgetting forgetting_{kAfter, catalog_, clock_, metrics_};
};

TEST_F(ForgettingTest, ForgetsALostJobOfOthersInItsTime) {
  Put(Lost("others"));
  EXPECT_THAT(Forget(kNow + kAfter - absl::Seconds(1)), IsEmpty());
  clock_.Advance(absl::Minutes(1));
  EXPECT_THAT(Forget(kNow + kAfter), ElementsAre("others"));
}

TEST_F(ForgettingTest, KeepsWhatACallerMadeAndWhatIsThere) {
  Put(Lost("own", "alice"));
  Put(MakeJob("there"));
  EXPECT_THAT(Forget(kNow + 10 * kAfter), IsEmpty());
}

TEST_F(ForgettingTest, KeepsWhatThisVeryCommitFoundAgain) {
  Put(Lost("others"));
  Next(kNow + 10 * kAfter);
  Put(MakeJob("others", pb::FineTune::TRAINING));
  forgetting_.ForgetLostJobs(*draft_);
  for (const ChangePtr& change : draft_->changes()) EXPECT_FALSE(change->forgotten());
}

TEST_F(ForgettingTest, LooksAtAllJobsOnceAMinute) {
  EXPECT_THAT(Forget(kNow), IsEmpty());
  Put(Lost("others"));
  EXPECT_THAT(Forget(kNow + 10 * kAfter), IsEmpty());
  clock_.Advance(absl::Minutes(1));
  EXPECT_THAT(Forget(kNow + 10 * kAfter), ElementsAre("others"));
}

TEST_F(ForgettingTest, ForgetsNoJobIfItIsNotToldTo) {
  Forgetting never(absl::InfiniteDuration(), catalog_, clock_, metrics_);
  Put(Lost("others"));
  Next(kNow + 1'000 * kAfter);
  never.ForgetLostJobs(*draft_);
  EXPECT_TRUE(draft_->empty());
}

TEST_F(ForgettingTest, LetsChangesGoThatNoWatcherCanResumeFrom) {
  forgetting_.OnLoaded();
  const uint64_t kept = catalog_.options().window_changes;
  EXPECT_EQ(Described(kept).forget_changes_through, 0u);
  const StoreBatch batch = Described(kept + 7);
  EXPECT_EQ(batch.forget_changes_through, 7u);
  forgetting_.OnCommitted({.era = kAnyEra}, batch);
  EXPECT_EQ(Described(kept + 7).forget_changes_through, 0u) << "once is enough";
  EXPECT_EQ(Described(kept + 8).forget_changes_through, 8u);
}

// To look for what went costs more the more went; but another process, or what a failover lost, may
// have left more.
TEST_F(ForgettingTest, LooksNoFurtherBackThanItsLastCommitOfThisEraDid) {
  forgetting_.OnLoaded();
  const uint64_t kept = catalog_.options().window_changes;
  EXPECT_EQ(Described(kept + 7).forget_changes_after, 0u);
  forgetting_.OnCommitted({.era = kAnyEra}, Described(kept + 7));
  EXPECT_EQ(Described(kept + 8).forget_changes_after, 7u);
  EXPECT_EQ(Described(kept + 8, kAnyEra + 1).forget_changes_after, 0u);
  forgetting_.OnLoaded();
  EXPECT_EQ(Described(kept + 8).forget_changes_after, 0u);
}

TEST_F(ForgettingTest, LetsOldSubmissionsGoNowAndThen) {
  const StoreBatch batch = Described(1);
  EXPECT_EQ(batch.forget_intents_before, clock_.WallNow() - absl::Hours(24 * 7));
  EXPECT_EQ(batch.forget_refusals_before, clock_.WallNow() - absl::Minutes(10));
  EXPECT_EQ(batch.forget_spending_before, clock_.WallNow() - kKeepSpending);
  EXPECT_NE(Described(1).forget_intents_before, absl::InfinitePast()) << "it was not committed yet";
  forgetting_.OnCommitted({.era = kAnyEra}, batch);
  EXPECT_EQ(Described(1).forget_intents_before, absl::InfinitePast());
  clock_.Advance(absl::Minutes(10));
  EXPECT_NE(Described(1).forget_intents_before, absl::InfinitePast());
}

}  // namespace
}  // namespace finetune
