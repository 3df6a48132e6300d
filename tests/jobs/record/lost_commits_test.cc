#include "server/jobs/record/lost_commits.h"

#include "server/base/error.h"
#include "tests/base/manual_clock.h"
#include "tests/jobs/record/draft_rig.h"

namespace finetune {
namespace {

class LostCommitsTest : public DraftRig {
 protected:
  static constexpr StorePoint kShown{.era = 7, .seq = 9, .revision = 9};

  // The record as it is loaded anew: of what was shown it has the first so many commits.
  static StoreState Having(uint64_t seq) {
    StoreState state;
    state.lineage = Lineage({{.id = 7}, {.id = 8, .base_revision = seq, .base_seq = seq}});
    state.point = {.era = 8, .seq = seq, .revision = seq};
    return state;
  }
  StoreBatch Described() const {
    StoreBatch batch;
    lost_.Describe(batch);
    return batch;
  }
  std::optional<record::Intent> Drafted(const std::string& request_id) {
    return *draft_->FindIntent("alice", request_id);
  }

  ManualClock clock_;
  LostCommits lost_{catalog_, clock_, metrics_};
};

TEST_F(LostCommitsTest, LetsSubmissionsBeMadeAsLongAsNothingIsLost) {
  lost_.Load("");
  lost_.NoteCommitted(9, {Intent("a", record::Intent::ACCEPTED)});
  lost_.NoteReloaded(Having(9), kShown);
  EXPECT_TRUE(lost_.WhyNotSubmit().ok());
  EXPECT_FALSE(lost_.IsAwaited());
  EXPECT_FALSE(Described().has_lost);
}

TEST_F(LostCommitsTest, BringsBackTheSubmissionsThatThisHistoryLacksAndTellsOthersOnce) {
  lost_.NoteCommitted(5, {Intent("kept", record::Intent::ACCEPTED)});
  lost_.NoteCommitted(8, {Intent("a", record::Intent::PREPARED)});
  lost_.NoteCommitted(9, {Intent("a", record::Intent::ACCEPTED)});
  lost_.NoteReloaded(Having(5), kShown);
  EXPECT_TRUE(lost_.IsAwaited());
  EXPECT_EQ(ReasonOf(lost_.WhyNotSubmit()), pb::ErrorReason::STORE_UNAVAILABLE);

  lost_.BringThemBack(*draft_);
  ASSERT_TRUE(Drafted("a"));
  EXPECT_EQ(Drafted("a")->state(), record::Intent::UNKNOWN);
  EXPECT_FALSE(Drafted("kept"));
  EXPECT_TRUE(Described().has_lost);

  lost_.OnCommitted();
  EXPECT_FALSE(lost_.IsAwaited());
  EXPECT_FALSE(Described().has_lost);
  EXPECT_TRUE(lost_.WhyNotSubmit().ok());
  Next();
  lost_.BringThemBack(*draft_);
  EXPECT_TRUE(draft_->empty());
}

TEST_F(LostCommitsTest, BringsThemBackAnewIfThatCommitFailed) {
  lost_.NoteCommitted(9, {Intent("a", record::Intent::ACCEPTED)});
  lost_.NoteReloaded(Having(5), kShown);
  lost_.BringThemBack(*draft_);
  draft_.reset();
  Next();
  lost_.BringThemBack(*draft_);
  EXPECT_TRUE(Drafted("a"));
}

TEST_F(LostCommitsTest, WaitsForOthersUntilAListWouldShowWhatTheySubmitted) {
  const absl::Time until = clock_.WallNow() + absl::Minutes(1);
  lost_.set_caution(StoreCaution{.until = until, .awaits_others = true});
  const absl::Status told = lost_.WhyNotSubmit();
  EXPECT_EQ(ReasonOf(told), pb::ErrorReason::STORE_UNAVAILABLE);
  EXPECT_TRUE(RetryDelayOf(told));
  EXPECT_FALSE(lost_.IsAwaited());
  EXPECT_FALSE(Described().ends_caution);
  clock_.Advance(absl::Minutes(1));
  catalog_.SetObserveTime(clock_.Now());
  EXPECT_FALSE(lost_.WhyNotSubmit().ok()) << "a list that began as late as the latest of them";
  clock_.Advance(absl::Seconds(1));
  catalog_.SetObserveTime(clock_.Now());
  EXPECT_TRUE(lost_.WhyNotSubmit().ok());
  EXPECT_TRUE(Described().ends_caution);
}

TEST_F(LostCommitsTest, SaysItsOwnWordWhereOthersWaitForIt) {
  lost_.set_caution(StoreCaution{.until = clock_.WallNow(), .awaits_me = true});
  EXPECT_TRUE(lost_.IsAwaited());
  EXPECT_TRUE(lost_.WhyNotSubmit().ok()) << "it comes with this very commit";
  lost_.OnCommitted();
  EXPECT_FALSE(lost_.IsAwaited());
}

TEST_F(LostCommitsTest, NoSubmissionIsMadeWhereNobodyKnowsWhatIsLost) {
  lost_.Load("the file is older than what was acknowledged");
  const absl::Status told = lost_.WhyNotSubmit();
  EXPECT_EQ(ReasonOf(told), pb::ErrorReason::STORE_UNAVAILABLE);
  EXPECT_EQ(told.message(), "the file is older than what was acknowledged");
  EXPECT_EQ(RetryDelayOf(told), absl::Minutes(1));
  lost_.OnCommitted();
  EXPECT_FALSE(lost_.WhyNotSubmit().ok());
}

}  // namespace
}  // namespace finetune
