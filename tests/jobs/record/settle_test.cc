#include "server/jobs/record/settle.h"

#include <functional>

#include "server/jobs/record/marker.h"
#include "server/jobs/record/merge.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

constexpr char kId[] = "11111111-1111-4111-8111-111111111111";

class SettleTest : public ::testing::Test {
 protected:
  SettleTest() {
    intent_.set_caller("alice");
    intent_.set_request_id("r");
    intent_.set_fine_tune_id(kId);
    intent_.set_state(record::Intent::PREPARED);
    intent_.set_marker(MakeMarker("key", "alice", "r", 0));
    pb::FineTune& wanted = *intent_.mutable_fine_tune();
    wanted.set_display_name("Cats of Kyoto, 2nd try");
    wanted.set_instance_prompt("a photo of TOK cat in the garden");
    wanted.set_data_source_uri("https://data.test/cats.zip");
    wanted.set_base_model("FAST_FLUX");
    wanted.set_visibility(pb::FineTune::PRIVATE);
    (*wanted.mutable_labels())["team"] = "cats";
    // Segmind shows neither the name nor the prompt as they were sent.
    seen_.id = "up";
    seen_.status = "QUEUED";
    seen_.name = "cats_of_kyoto_2nd_try_" + intent_.marker() + "_v1";
    seen_.fields.set_instance_prompt("a photo of TOK cat");
    seen_.fields.set_base_model("FAST_FLUX");
    seen_.is_public = true;
  }

  Reading Seen(uint64_t read) const {
    return {.job = seen_, .read = read, .ended = read, .time = absl::FromUnixSeconds(1'000'000)};
  }
  void Run(const std::function<void(Draft&)>& step) {
    ASSERT_TRUE(jobs_
                    .Run([&](Draft& draft) {
                      step(draft);
                      return absl::OkStatus();
                    })
                    .ok());
  }
  void ShowAsForeign() {
    Run([&](Draft& draft) { draft.Put(ForeignRecord(ForeignId("up"), Seen(5))); });
  }
  // After one more list.
  void ExpectAsAskedFor() {
    Run([&](Draft& draft) {
      auto record = draft.FindUpstream("up");
      ASSERT_TRUE(record);
      Join(Seen(9), *record);
      draft.Put(*std::move(record));
    });
    const VersionPtr version = jobs_.catalog.FindUpstream("up");
    ASSERT_NE(version, nullptr);
    EXPECT_EQ(version->creator, "alice");
    EXPECT_EQ(version->state, pb::FineTune::QUEUED);
    pb::FineTune job;
    Run([&](Draft& draft) { job = draft.FindUpstream("up")->fine_tune(); });
    EXPECT_EQ(job.display_name(), intent_.fine_tune().display_name());
    EXPECT_EQ(job.instance_prompt(), intent_.fine_tune().instance_prompt());
    EXPECT_EQ(job.data_source_uri(), intent_.fine_tune().data_source_uri());
    EXPECT_EQ(job.labels().at("team"), "cats");
    EXPECT_EQ(job.visibility(), pb::FineTune::PUBLIC) << "that is Segmind's to say";
    EXPECT_EQ(IdOf(job.name()), version->id);
  }

  JobsFixture jobs_;
  record::Intent intent_;
  UpstreamJob seen_;
};

TEST_F(SettleTest, WhatTheCallerAskedForStandsAfterAnAnswer) {
  Run([&](Draft& draft) { EXPECT_EQ(Accept(draft, intent_, Seen(5)), kId); });
  ExpectAsAskedFor();
}

TEST_F(SettleTest, WhatTheCallerAskedForStandsAfterASearch) {
  Run([&](Draft& draft) { BecomeUnknown(draft, intent_, "lost", 3); });
  Run([&](Draft& draft) { EXPECT_EQ(Accept(draft, intent_, Seen(5)), kId); });
  ExpectAsAskedFor();
}

TEST_F(SettleTest, WhatTheCallerAskedForStandsWhereTheJobWasTakenForAnothers) {
  ShowAsForeign();
  Run([&](Draft& draft) { EXPECT_EQ(Accept(draft, intent_, Seen(6)), ForeignId("up")); });
  ExpectAsAskedFor();
}

TEST_F(SettleTest, WhatTheCallerAskedForStandsWhereTheRecordHadLostTheSubmission) {
  intent_.mutable_fine_tune()->set_instance_prompt("a photo of TOK cat");
  ShowAsForeign();
  Run([&](Draft& draft) { EXPECT_TRUE(AcceptLost(draft, intent_)); });
  EXPECT_EQ(intent_.fine_tune_id(), ForeignId("up"));
  ExpectAsAskedFor();
}

TEST_F(SettleTest, WhatTheCallerAskedForStandsWhereItWasGivenUp) {
  Run([&](Draft& draft) { BecomeUnknown(draft, intent_, "lost", 3); });
  Run([&](Draft& draft) {
    Abandon(draft, intent_, absl::NotFoundError("not there"), pb::StateTransition::RECONCILE);
  });
  EXPECT_EQ(jobs_.catalog.Find(kId)->state, pb::FineTune::FAILED);
  Run([&](Draft& draft) {
    EXPECT_TRUE(Reinstate(draft, *draft.Find(kId), Seen(5)).ok());
    EXPECT_EQ((*draft.FindIntent("alice", "r"))->state(), record::Intent::ACCEPTED);
  });
  ExpectAsAskedFor();
}

}  // namespace
}  // namespace finetune
