#include "server/jobs/record/commit_draft.h"

#include "server/base/time_proto.h"
#include "tests/jobs/record/draft_rig.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

record::FineTuneRecord JobOf(const std::string& creator, const std::string& id,
                             pb::FineTune::State state = pb::FineTune::QUEUED) {
  record::FineTuneRecord record = MakeJob(id, state);
  record.mutable_fine_tune()->set_creator(creator);
  return record;
}

class CommitDraftTest : public DraftRig {
 protected:
  std::vector<std::string> Changed() const {
    std::vector<std::string> changed;
    for (const ChangePtr& change : draft_->changes())
      changed.push_back(absl::StrCat(change->after()->id, "@", change->revision(),
                                     change->before() == nullptr ? " new" : "",
                                     change->forgotten() ? " forgotten" : ""));
    return changed;
  }
};

TEST_F(CommitDraftTest, AMutationSeesItsOwnPutsAndThoseBeforeIt) {
  draft_->Put(MakeJob("a"));
  EXPECT_TRUE(draft_->Find("a"));
  EXPECT_TRUE(draft_->FindUpstream("up-a"));
  EXPECT_THAT(Changed(), IsEmpty());
  EXPECT_TRUE(draft_->EndMutation(absl::OkStatus()).ok());
  EXPECT_THAT(Changed(), ElementsAre("a@1 new"));
  draft_->Put(MakeJob("a", pb::FineTune::TRAINING));
  EXPECT_EQ(draft_->Find("a")->fine_tune().state(), pb::FineTune::TRAINING);
  EXPECT_TRUE(draft_->EndMutation(absl::OkStatus()).ok());
  EXPECT_THAT(Changed(), ElementsAre("a@1 new", "a@2"));
  EXPECT_EQ(draft_->changes()[1]->before(), draft_->changes()[0]->after());
}

TEST_F(CommitDraftTest, NothingIsLeftOfAMutationThatFailed) {
  draft_->Put(MakeJob("a"));
  draft_->PutIntent(Intent("r", record::Intent::PREPARED));
  EXPECT_TRUE(absl::IsAborted(draft_->EndMutation(absl::AbortedError("no"))));
  EXPECT_FALSE(draft_->Find("a"));
  EXPECT_FALSE(draft_->FindUpstream("up-a"));
  EXPECT_FALSE(draft_->FindIntent("alice", "r")->has_value());
  EXPECT_TRUE(draft_->empty());
  EXPECT_EQ(draft_->writes(), 0u);
}

TEST_F(CommitDraftTest, WhatSaysNothingNewIsNoChangeButItsReadIsKept) {
  Put(MakeJob("a"));
  Next();
  record::FineTuneRecord again = *draft_->Find("a");
  again.set_read(77);
  *again.mutable_fine_tune()->mutable_observe_time() = ToProto(kNow);
  Put(again);
  EXPECT_TRUE(draft_->empty());
  EXPECT_EQ(draft_->newer_reads().at("a"), 77u);
  EXPECT_EQ(draft_->Find("a")->read(), 77u);
}

TEST_F(CommitDraftTest, AForgottenJobIsGoneAndItsWatchersAreTold) {
  Put(MakeJob("a"));
  Next();
  draft_->Forget("a");
  draft_->Forget("never");
  EXPECT_FALSE(draft_->Find("a"));
  EXPECT_TRUE(draft_->EndMutation(absl::OkStatus()).ok());
  EXPECT_THAT(Changed(), ElementsAre("a@2 forgotten"));
  EXPECT_FALSE(draft_->Find("a"));
  // Who comes again is new.
  Put(MakeJob("a"));
  EXPECT_THAT(Changed(), ElementsAre("a@2 forgotten", "a@3 new"));
  EXPECT_EQ(draft_->changes()[1]->after()->first_revision, 3u);
}

TEST_F(CommitDraftTest, FindsByTheNamesThatAJobHasNow) {
  Put(MakeJob("a"));
  Next();
  record::FineTuneRecord renamed = *draft_->Find("a");
  renamed.mutable_fine_tune()->set_upstream_id("new");
  renamed.set_upstream_request_id("other");
  draft_->Put(renamed);
  EXPECT_FALSE(draft_->FindUpstream("up-a"));
  EXPECT_TRUE(draft_->FindUpstream("new"));
  EXPECT_TRUE(draft_->FindUpstream("other"));
  EXPECT_FALSE(draft_->FindUpstream(""));
}

TEST_F(CommitDraftTest, ANameThatIsNoneFailsTheMutation) {
  record::FineTuneRecord record;
  record.mutable_fine_tune()->set_name("jobs/a");
  draft_->Put(record);
  draft_->Put(MakeJob("b"));
  EXPECT_FALSE(draft_->EndMutation(absl::OkStatus()).ok());
  EXPECT_TRUE(draft_->empty());
}

TEST_F(CommitDraftTest, TakesNoNewSubmissionIntoARecordThatLacksSome) {
  refusal_ = absl::UnavailableError("the record may lack some");
  draft_->PutIntent(Intent("r", record::Intent::PREPARED));
  const absl::Status refused = draft_->EndMutation(absl::OkStatus());
  EXPECT_EQ(refused, refusal_);
  // Those that are there may end.
  draft_->PutIntent(Intent("r", record::Intent::ACCEPTED));
  EXPECT_TRUE(draft_->EndMutation(absl::OkStatus()).ok());
}

TEST_F(CommitDraftTest, CountsACallersJobsThatGoOnAsTheCommitLeavesThem) {
  Put(JobOf("alice", "a"));
  Put(JobOf("bob", "b"));
  Next();
  const auto active = [&] { return draft_->SpendingOf("alice")->active_jobs; };
  EXPECT_EQ(active(), 1);
  draft_->Put(JobOf("alice", "c"));
  EXPECT_EQ(active(), 2);
  draft_->PutIntent(Intent("r", record::Intent::PREPARED));
  EXPECT_EQ(active(), 3);
  EXPECT_EQ(draft_->SpendingOf("alice")->creates.count, 1);
  EXPECT_TRUE(draft_->EndMutation(absl::OkStatus()).ok());
  draft_->Put(JobOf("alice", "a", pb::FineTune::FAILED));
  EXPECT_EQ(active(), 2);
  // The submission's own job is not counted beside it.
  draft_->Put(JobOf("alice", "job-r"));
  EXPECT_EQ(active(), 2);
  draft_->Forget("c");
  EXPECT_EQ(active(), 1);
}

TEST_F(CommitDraftTest, TheBatchHasAllThatIsToBeWritten) {
  Put(MakeJob("a"));
  Put(MakeJob("a", pb::FineTune::TRAINING));
  draft_->PutIntent(Intent("r", record::Intent::PREPARED));
  ASSERT_TRUE(draft_->EndMutation(absl::OkStatus()).ok());
  EXPECT_EQ(draft_->writes(), 3u);
  const StoreBatch batch = draft_->TakeBatch();
  ASSERT_EQ(batch.changes.size(), 2u);
  EXPECT_EQ(batch.changes[0].before, "");
  EXPECT_EQ(batch.changes[1].before, batch.changes[0].after);
  EXPECT_EQ(batch.changes[1].revision, 2u);
  EXPECT_EQ(batch.put_intents.size(), 1u);
}

}  // namespace
}  // namespace finetune
