#include "server/jobs/record/draft_intents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/time_proto.h"
#include "server/store/sqlite_store.h"

namespace finetune {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

record::Intent Prepared(const std::string& request_id, record::Intent::State state,
                        absl::Time created = kNow) {
  record::Intent intent;
  intent.set_caller("alice");
  intent.set_request_id(request_id);
  intent.set_fine_tune_id("job-" + request_id);
  intent.set_marker("m-" + request_id);
  intent.set_state(state);
  *intent.mutable_create_time() = ToProto(created);
  return intent;
}

class DraftIntentsTest : public ::testing::Test {
 protected:
  // Commits them before the draft begins.
  void Store(const std::vector<record::Intent>& intents) {
    const auto state = store_->Load();
    ASSERT_TRUE(state.ok());
    ASSERT_TRUE(store_->Begin(state->point, {}).ok());
    ASSERT_EQ(store_->Commit({.put_intents = intents}).kind, CommitOutcome::Kind::kWritten);
    for (const record::Intent& intent : intents) unsettled_.Put(intent);
    const auto now = store_->Load();
    ASSERT_TRUE(now.ok());
    ASSERT_TRUE(store_->Begin(now->point, {}).ok());
  }
  record::Intent::State StateOf(const std::string& request_id) {
    const auto found = draft_.Find({"alice", request_id});
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() && *found ? (*found)->state() : record::Intent::STATE_UNSPECIFIED;
  }
  std::vector<std::string> Unsettled() {
    std::vector<std::string> ids;
    for (const record::Intent& intent : draft_.Unsettled()) ids.push_back(intent.request_id());
    return ids;
  }

  std::unique_ptr<class Store> store_ = OpenSqliteStore(":memory:").value();
  IntentTable unsettled_;
  DraftIntents draft_{*store_, unsettled_, kNow};
};

TEST_F(DraftIntentsTest, SeesTheLatestOfStoreCommitAndMutation) {
  Store({Prepared("a", record::Intent::PREPARED), Prepared("b", record::Intent::ACCEPTED)});
  EXPECT_EQ(StateOf("a"), record::Intent::PREPARED);
  EXPECT_EQ(StateOf("b"), record::Intent::ACCEPTED);
  EXPECT_EQ(StateOf("c"), record::Intent::STATE_UNSPECIFIED);
  draft_.Put(Prepared("a", record::Intent::UNKNOWN));
  draft_.EndMutation(true);
  EXPECT_EQ(StateOf("a"), record::Intent::UNKNOWN);
  draft_.Put(Prepared("a", record::Intent::ACCEPTED));
  EXPECT_EQ(StateOf("a"), record::Intent::ACCEPTED);
  EXPECT_THAT(Unsettled(), IsEmpty());
}

TEST_F(DraftIntentsTest, ForgetsWhatAMutationPutThatFailed) {
  draft_.Put(Prepared("a", record::Intent::PREPARED));
  draft_.EndMutation(false);
  EXPECT_EQ(StateOf("a"), record::Intent::STATE_UNSPECIFIED);
  EXPECT_TRUE(draft_.empty());
  EXPECT_EQ(draft_.puts(), 0u);
  draft_.Put(Prepared("a", record::Intent::PREPARED));
  draft_.EndMutation(true);
  EXPECT_EQ(draft_.All().size(), 1u);
  EXPECT_EQ(draft_.puts(), 1u);
}

TEST_F(DraftIntentsTest, ARefusedOneCountsAsNone) {
  Store({Prepared("a", record::Intent::PREPARED)});
  draft_.Refuse({"alice", "a"});
  EXPECT_EQ(StateOf("a"), record::Intent::STATE_UNSPECIFIED);
  EXPECT_EQ(draft_.FindByMarker("m-a"), std::nullopt);
  draft_.EndMutation(true);
  ASSERT_EQ(draft_.All().size(), 1u);
  EXPECT_EQ(draft_.All()[0].state(), record::Intent::REFUSED);
  EXPECT_EQ(draft_.All()[0].marker(), "m-a");
  EXPECT_EQ(FromProto(draft_.All()[0].settle_time()), kNow);
}

TEST_F(DraftIntentsTest, FindsByMarkerOnlyWhatIsNotSettledByNow) {
  Store({Prepared("a", record::Intent::PREPARED), Prepared("b", record::Intent::UNKNOWN)});
  EXPECT_EQ(draft_.FindByMarker("m-a")->request_id(), "a");
  draft_.Put(Prepared("a", record::Intent::ACCEPTED));
  EXPECT_EQ(draft_.FindByMarker("m-a"), std::nullopt);
  draft_.Put(Prepared("c", record::Intent::PREPARED));
  EXPECT_EQ(draft_.FindByMarker("m-c")->request_id(), "c");
  EXPECT_EQ(draft_.FindByMarker(""), std::nullopt);
  EXPECT_THAT(Unsettled(), UnorderedElementsAre("b", "c"));
}

TEST_F(DraftIntentsTest, CountsWhatACallerSpendsWithWhatThisCommitAddsAndTakesBack) {
  const absl::Time old = kNow - kSpendingWindow - absl::Seconds(1);
  const absl::Time earlier = kNow - absl::Hours(1);
  Store({Prepared("a", record::Intent::ACCEPTED, earlier), Prepared("b", record::Intent::PREPARED),
         Prepared("c", record::Intent::NOT_SUBMITTED),
         Prepared("d", record::Intent::ACCEPTED, old)});
  EXPECT_EQ(draft_.CountCreates("alice")->count, 2);
  EXPECT_EQ(draft_.CountCreates("alice")->oldest, earlier);
  draft_.Put(Prepared("e", record::Intent::PREPARED));
  EXPECT_EQ(draft_.CountCreates("alice")->count, 3);
  draft_.EndMutation(true);
  // Settled either way, it counts once or not at all.
  draft_.Put(Prepared("e", record::Intent::ACCEPTED));
  EXPECT_EQ(draft_.CountCreates("alice")->count, 3);
  draft_.Refuse({"alice", "b"});
  EXPECT_EQ(draft_.CountCreates("alice")->count, 2);
  EXPECT_EQ(draft_.CountCreates("bob")->count, 0);
}

TEST_F(DraftIntentsTest, CountsHiddenSubmissionsOfThatCallerAlone) {
  Store({Prepared("a", record::Intent::PREPARED), Prepared("b", record::Intent::UNKNOWN)});
  const auto visible = [](const std::string& id) { return id == "job-b"; };
  EXPECT_EQ(draft_.CountHidden("alice", visible), 1);
  draft_.Put(Prepared("c", record::Intent::PREPARED));
  EXPECT_EQ(draft_.CountHidden("alice", visible), 2);
  draft_.Put(Prepared("a", record::Intent::ACCEPTED));
  EXPECT_EQ(draft_.CountHidden("alice", visible), 1);
  EXPECT_EQ(draft_.CountHidden("alic", visible), 0);
}

}  // namespace
}  // namespace finetune
