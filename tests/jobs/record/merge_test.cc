#include "server/jobs/record/merge.h"

#include "gtest/gtest.h"
#include "server/base/time_proto.h"
#include "server/base/uuid.h"
#include "server/jobs/record/marker.h"
#include "server/jobs/record/version.h"

namespace finetune {
namespace {

using pb::FineTune;

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

UpstreamJob Item(const std::string& status) {
  UpstreamJob job;
  job.id = "up-1";
  job.status = status;
  job.name = "cats";
  job.fields.set_base_model("FAST_FLUX");
  return job;
}

UpstreamJob Details(const std::string& status) {
  UpstreamJob job = Item(status);
  job.from_details = true;
  job.fields.set_slug("up-1-cats");
  job.fields.set_instance_prompt("a cat");
  job.created = kStart - absl::Hours(1);
  return job;
}

class Merge : public ::testing::Test {
 protected:
  Joined At(int second, const UpstreamJob& job, bool confirmed = false) {
    const Reading reading{.job = job,
                          .read = static_cast<uint64_t>(second) + 1,
                          .time = kStart + absl::Seconds(second),
                          .source = pb::StateTransition::POLL,
                          .confirmed = confirmed};
    if (record_.fine_tune().name().empty()) {
      record_ = ForeignRecord(ForeignId(job.id), reading);
      return Joined::kFresh;
    }
    return Join(reading, record_);
  }
  const FineTune& job() const { return record_.fine_tune(); }

  record::FineTuneRecord record_;
};

TEST_F(Merge, JoinsTheTwoShapes) {
  UpstreamJob item = Item("TRAINING_COMPLETED");
  item.fields.set_theme("subject");
  item.cloud_storage_url = "https://storage.test/w.safetensors";
  item.is_public = true;
  At(0, item);
  EXPECT_EQ(job().state(), FineTune::TRAINED);
  EXPECT_EQ(job().weights_uri(), "https://storage.test/w.safetensors");
  EXPECT_EQ(FromProto(job().create_time()), kStart);
  EXPECT_FALSE(record_.details_known());

  EXPECT_EQ(At(1, Details("AVAILABLE")), Joined::kFresh);
  EXPECT_EQ(job().state(), FineTune::AVAILABLE);
  EXPECT_EQ(job().theme(), "subject");
  EXPECT_EQ(job().instance_prompt(), "a cat");
  EXPECT_EQ(job().visibility(), FineTune::PUBLIC);
  EXPECT_EQ(job().inference_uri(), "https://api.segmind.com/v1/up-1-cats");
  EXPECT_EQ(job().weights_uri(), "https://storage.test/w.safetensors");
  EXPECT_EQ(FromProto(job().create_time()), kStart - absl::Hours(1));
  EXPECT_EQ(FromProto(job().observe_time()), kStart + absl::Seconds(1));
  EXPECT_TRUE(record_.details_known());
  ASSERT_EQ(job().transitions_size(), 2);
  EXPECT_EQ(job().transitions(1).upstream_status(), "AVAILABLE");
}

TEST_F(Merge, TakesWhatSegmindSaysThatItCosts) {
  UpstreamJob item = Item("TRAINING");
  At(0, item);
  EXPECT_FALSE(job().has_billed_cost());
  item.billed_micros = 2'000'000;
  At(1, item);
  EXPECT_EQ(job().billed_cost().unit(), "credits");
  EXPECT_EQ(job().billed_cost().micros(), 2'000'000);
  // An answer without it takes nothing back.
  At(2, Item("AVAILABLE"));
  EXPECT_EQ(job().billed_cost().micros(), 2'000'000);
}

TEST_F(Merge, KeepsTheWordForAStateThatIsNotKnown) {
  At(0, Item("TRAINING"));
  At(1, Item("POLISHING"));
  EXPECT_EQ(job().state(), FineTune::TRAINING);
  EXPECT_EQ(job().upstream_status(), "POLISHING");
  EXPECT_EQ(job().transitions_size(), 2);
}

TEST_F(Merge, KeepsTheMessageOfAStateThatIsNotKnownAndOfACancelledJob) {
  UpstreamJob item = Item("POLISHING");
  item.error_message = "out of wax";
  At(0, Item("TRAINING"));
  At(1, item);
  EXPECT_EQ(job().failure().message(), "out of wax");
  EXPECT_TRUE(HasUnknownWord(job()));
  At(2, Item("TRAINING"));
  EXPECT_FALSE(job().has_failure());
  EXPECT_FALSE(HasUnknownWord(job()));
  item.status = "Cancelled";
  At(3, item);
  EXPECT_EQ(job().state(), FineTune::CANCELLED);
  EXPECT_EQ(job().failure().message(), "out of wax");
  EXPECT_EQ(At(4, Item("TRAINING")), Joined::kDoubtful) << "it has ended";
}

TEST_F(Merge, NotesWhenTheGatewaySawItHappen) {
  At(0, Item("QUEUED"));
  EXPECT_FALSE(job().has_training_start_time());
  At(1, Item("TRAINING"));
  At(2, Item("TRAINING_COMPLETED"));
  EXPECT_EQ(FromProto(job().training_start_time()), kStart + absl::Seconds(1));
  EXPECT_FALSE(job().has_end_time());
  At(3, Details("AVAILABLE"));
  EXPECT_EQ(FromProto(job().end_time()), kStart + absl::Seconds(3));
  At(4, Details("TRAINING"), /*confirmed=*/true);
  EXPECT_FALSE(job().has_end_time()) << "it goes on";
  EXPECT_EQ(FromProto(job().training_start_time()), kStart + absl::Seconds(1));
}

TEST_F(Merge, DoesNotSayWhenThatHappenedWhichWasThereBefore) {
  At(0, Item("AVAILABLE"));
  EXPECT_FALSE(job().has_end_time());
  EXPECT_FALSE(job().has_training_start_time());
}

TEST_F(Merge, SaysThatItsCreateTimeIsAGuessUntilSegmindTellsIt) {
  At(0, Item("QUEUED"));
  EXPECT_TRUE(job().create_time_estimated());
  At(5, Details("QUEUED"));
  EXPECT_FALSE(job().create_time_estimated());
  EXPECT_EQ(FromProto(job().create_time()), kStart - absl::Hours(1));
}

TEST_F(Merge, SaysThatWhatAStateIsForIsStillToCome) {
  At(0, Item("TRAINING"));
  EXPECT_FALSE(job().details_pending());
  At(1, Item("TRAINING_COMPLETED"));
  EXPECT_TRUE(job().details_pending());
  UpstreamJob with_weights = Item("TRAINING_COMPLETED");
  with_weights.cloud_storage_url = "https://storage.test/w.safetensors";
  At(2, with_weights);
  EXPECT_FALSE(job().details_pending());
  At(3, Item("AVAILABLE"));
  EXPECT_TRUE(job().details_pending()) << "where inference is called";
  At(4, Details("AVAILABLE"));
  EXPECT_FALSE(job().details_pending());
}

TEST_F(Merge, DetailsThatHaveNothingEndTheWaitForThem) {
  At(0, Item("AVAILABLE"));
  EXPECT_TRUE(job().details_pending());
  UpstreamJob bare = Item("AVAILABLE");
  bare.from_details = true;
  At(1, bare);
  EXPECT_FALSE(job().details_pending());
}

TEST_F(Merge, DoesNotInventAStateForANewJobWithAnUnknownWord) {
  At(0, Item("POLISHING"));
  EXPECT_EQ(job().state(), FineTune::STATE_UNSPECIFIED);
  EXPECT_FALSE(IsTerminal(job().state()));
  EXPECT_EQ(job().upstream_status(), "POLISHING");
}

TEST_F(Merge, TakesNoStateFromAReadThatBeganEarlier) {
  At(5, Item("TRAINING"));
  UpstreamJob old = Item("QUEUED");
  old.fields.set_theme("subject");
  EXPECT_EQ(At(3, old), Joined::kStale);
  EXPECT_EQ(job().state(), FineTune::TRAINING);
  EXPECT_EQ(job().theme(), "subject") << "what was not known is taken from any read";
  EXPECT_EQ(record_.read(), 6u);
}

TEST_F(Merge, LeavesATerminalStateOnlyWhenDetailsConfirmIt) {
  At(0, Item("AVAILABLE"));
  EXPECT_EQ(At(1, Item("TRAINING")), Joined::kDoubtful);
  EXPECT_EQ(job().state(), FineTune::AVAILABLE);
  EXPECT_EQ(job().upstream_status(), "AVAILABLE");
  EXPECT_EQ(At(2, Details("TRAINING"), /*confirmed=*/true), Joined::kFresh);
  EXPECT_EQ(job().state(), FineTune::TRAINING);
  EXPECT_EQ(job().inference_uri(), "");
}

TEST_F(Merge, GivesTheReasonOfAFailure) {
  UpstreamJob failed = Item("FAILED");
  failed.error_message = "Looks like empty dataset";
  At(0, failed);
  EXPECT_EQ(job().failure().reason(), pb::Failure::DATASET_INVALID);
  EXPECT_EQ(job().failure().message(), "Looks like empty dataset");
  EXPECT_EQ(At(1, Item("FAILED")), Joined::kFresh);
  EXPECT_EQ(job().failure().message(), "Looks like empty dataset");
}

TEST_F(Merge, KeepsWhatTheCallerAskedFor) {
  record_.set_request_id("r");
  record_.mutable_fine_tune()->set_name(NameOf("ours"));
  record_.mutable_fine_tune()->set_display_name("cats-fgsomething");
  record_.mutable_fine_tune()->set_instance_prompt("my prompt");
  (*record_.mutable_fine_tune()->mutable_labels())["team"] = "a";
  UpstreamJob job_at_segmind = Details("QUEUED");
  job_at_segmind.name = AddMarker("CATS", MakeMarker("key", "alice", "r", 0));
  At(0, job_at_segmind);
  EXPECT_EQ(job().display_name(), "cats-fgsomething");
  EXPECT_EQ(job().instance_prompt(), "my prompt");
  EXPECT_EQ(job().labels().at("team"), "a");
  EXPECT_EQ(job().slug(), "up-1-cats");
}

TEST_F(Merge, TakesTheMarkerOffANameFromElsewhere) {
  const std::string marker = MakeMarker("key", "alice", "r", 0);
  UpstreamJob item = Item("QUEUED");
  item.name = AddMarker("cats", marker);
  At(0, item);
  EXPECT_EQ(job().display_name(), "cats");
  EXPECT_EQ(record_.marker(), marker);
}

TEST_F(Merge, LearnsTheSecondNameOfAJob) {
  UpstreamJob submitted = Item("REQUESTED");
  submitted.id = "request-1";
  At(0, submitted);
  UpstreamJob listed = Item("QUEUED");
  listed.request_id = "request-1";
  At(1, listed);
  EXPECT_EQ(job().upstream_id(), "up-1");
  EXPECT_EQ(record_.upstream_request_id(), "request-1");
}

TEST_F(Merge, KeepsTheFirstTransitionAndTheLatest) {
  At(0, Item("REQUESTED"));
  for (int i = 1; i <= 300; ++i) At(i, Item(absl::StrCat("STEP ", i)));
  ASSERT_EQ(job().transitions_size(), 100);
  EXPECT_EQ(job().transitions(0).upstream_status(), "REQUESTED");
  EXPECT_EQ(job().transitions(1).upstream_status(), "STEP 202");
  EXPECT_EQ(job().transitions(99).upstream_status(), "STEP 300");
}

TEST(ForeignIds, AreSegmindsOwnWhereTheyCanStandInAName) {
  EXPECT_EQ(ForeignId("3f0e8b1c-6a52"), "3f0e8b1c-6a52");
  EXPECT_TRUE(IsUuid(ForeignId("a/b")));
  EXPECT_TRUE(IsUuid(ForeignId(std::string(129, 'a'))));
  EXPECT_EQ(ForeignId("a/b"), ForeignId("a/b"));
  EXPECT_NE(ForeignId("a/b"), ForeignId("a/c"));
}

}  // namespace
}  // namespace finetune
