#include "server/jobs/submission/submission.h"

#include "server/jobs/submission/submission_input.h"
#include "tests/jobs/rig.h"

namespace finetune {
namespace {

// Submissions without a Submitter: a test does what that does for them. No list shows a job unless
// a test says so, so that only their own answers, and what a test tells them, bring them on.
class SubmissionTest : public Rig {
 protected:
  void SetUp() override {
    segmind_.set_list_fate([] { return Fate::kNoConnection; });
    StartProcess();
    parts_ = std::make_shared<SubmissionParts>(Submitter::Options(), process_->client,
                                               process_->recorder, process_->catalog,
                                               process_->tracker, clock_, process_->metrics);
  }
  void TearDown() override {
    process_->Stop();
    parts_->worker.Stop();
    submission_.reset();
    Rig::TearDown();
  }

  // On its thread, and what follows from it before the clock is turned.
  void Do(std::function<void()> step) {
    parts_->worker.Post(std::move(step));
    Worker::AwaitIdleProcess();
  }
  CreateReply Begin(absl::Duration timeout = absl::Seconds(10), CreateCall call = {}) {
    call.caller = "alice";
    call.request_id = "r";
    call.fine_tune = Request();
    std::string fingerprint = FingerprintOf(call.fine_tune);
    submission_ = std::make_shared<Submission>(parts_, std::move(call), std::move(fingerprint),
                                               [this] { ++moved_; });
    CreateReply reply = Add(timeout);
    Do([this] { submission_->Start(); });
    return reply;
  }
  CreateReply Add(absl::Duration timeout) {
    CreateReply reply;
    Do([&] { submission_->Add(clock_.Now() + timeout, reply.Taker()); });
    return reply;
  }
  // What the Submitter would do with it.
  enum class Kept { kBusy, kAwaited, kOver };
  Kept kept() {
    Kept kept;
    Do([&] {
      kept = submission_->is_over()   ? Kept::kOver
             : submission_->is_busy() ? Kept::kBusy
                                      : Kept::kAwaited;
    });
    return kept;
  }
  std::optional<record::Intent> Recorded() {
    std::optional<record::Intent> found;
    Reply<absl::Status> done;
    process_->recorder.Record(
        [&](Draft& draft) {
          found = *draft.FindIntent("alice", "r");
          return absl::OkStatus();
        },
        done.Taker());
    EXPECT_TRUE(done.Wait().ok());
    return found;
  }
  void Record(record::Intent::State state, const std::string& owner) {
    record::Intent intent;
    intent.set_caller("alice");
    intent.set_request_id("r");
    intent.set_fine_tune_id("11111111-1111-4111-8111-111111111111");
    intent.set_fingerprint(FingerprintOf(Request()));
    intent.set_state(state);
    intent.set_owner(owner);
    *intent.mutable_fine_tune() = Request();
    Reply<absl::Status> done;
    process_->recorder.Record(
        [&](Draft& draft) {
          draft.PutIntent(intent);
          return absl::OkStatus();
        },
        done.Taker());
    ASSERT_TRUE(done.Wait().ok());
  }
  static pb::ErrorReason::Reason Why(const CreateReply& reply) {
    return reply.ready() ? ReasonOf(reply.get().status()) : pb::ErrorReason::REASON_UNSPECIFIED;
  }
  static pb::FineTune::State State(const CreateReply& reply) {
    EXPECT_TRUE(reply.ready() && reply.get().ok());
    return reply.ready() && reply.get().ok() ? (*reply.get())->state
                                             : pb::FineTune::STATE_UNSPECIFIED;
  }

  std::shared_ptr<SubmissionParts> parts_;
  std::shared_ptr<Submission> submission_;
  int moved_ = 0;  // Its thread only.
};

TEST_F(SubmissionTest, EndsWithTheJobThatSegmindTook) {
  const CreateReply reply = Begin();
  EXPECT_EQ(State(reply), pb::FineTune::QUEUED);
  EXPECT_EQ(kept(), Kept::kOver);
  EXPECT_GT(moved_, 0);
  EXPECT_EQ(Recorded()->state(), record::Intent::ACCEPTED);
  EXPECT_EQ(Recorded()->fine_tune_id(), (*reply.get())->id);
  EXPECT_EQ(segmind_.posts(), 1);
}

TEST_F(SubmissionTest, IsRecordedBeforeItIsSent) {
  std::optional<record::Intent::State> seen;
  segmind_.set_submit_hook([&](bool after) {
    if (!after) seen = Recorded()->state();
    return true;
  });
  Begin();
  EXPECT_EQ(seen, record::Intent::PREPARED);
}

TEST_F(SubmissionTest, ARefusalIsRecordedBeforeItIsTold) {
  segmind_.NextSubmits({Fate::kRefused});
  const CreateReply reply = Begin();
  EXPECT_EQ(Why(reply), pb::ErrorReason::UPSTREAM_REJECTED);
  EXPECT_EQ(kept(), Kept::kOver);
  EXPECT_FALSE(Recorded()) << "the request_id may come again";
  EXPECT_EQ(JobCount(), 0u);
}

TEST_F(SubmissionTest, PausesAndTriesAgainWhatWasNotSent) {
  segmind_.NextSubmits({Fate::kNoConnection, Fate::kNoConnection});
  const CreateReply reply = Begin();
  EXPECT_FALSE(reply.ready());
  EXPECT_EQ(kept(), Kept::kBusy);
  ASSERT_TRUE(RunUntil([&] { return reply.ready(); }));
  EXPECT_EQ(State(reply), pb::FineTune::QUEUED);
  EXPECT_EQ(segmind_.taken(), 1);
}

TEST_F(SubmissionTest, GivesUpWhatWasNotSentOnceNobodyCouldHearOfIt) {
  segmind_.set_submit_fate([] { return Fate::kNoConnection; });
  const CreateReply reply = Begin(absl::Seconds(3));
  ASSERT_TRUE(RunUntil([&] { return reply.ready() && kept() == Kept::kOver; }));
  EXPECT_FALSE(reply.get().ok());
  EXPECT_FALSE(Recorded());
  EXPECT_EQ(segmind_.posts(), 0);
}

TEST_F(SubmissionTest, AwaitsTheTrackerWhereTheAnswerWasLost) {
  segmind_.NextSubmits({Fate::kLostAfter});
  const CreateReply reply = Begin();
  EXPECT_EQ(kept(), Kept::kAwaited);
  EXPECT_FALSE(reply.ready());
  const record::Intent intent = *Recorded();
  EXPECT_EQ(intent.state(), record::Intent::UNKNOWN);
  Do([&] { submission_->OnSettled("another"); });
  EXPECT_FALSE(reply.ready());
  Do([&] { submission_->OnSettled(intent.fine_tune_id()); });
  EXPECT_EQ(State(reply), pb::FineTune::SUBMIT_UNKNOWN);
  EXPECT_EQ(kept(), Kept::kOver);
  EXPECT_EQ(segmind_.posts(), 1);
}

TEST_F(SubmissionTest, EachCallerHearsWhatIsKnownInItsOwnTime) {
  segmind_.NextSubmits({Fate::kHeld});
  const CreateReply hasty = Begin(absl::Seconds(2));
  const CreateReply patient = Add(absl::Seconds(15));
  ASSERT_TRUE(RunUntil([&] { return hasty.ready(); }));
  EXPECT_EQ(State(hasty), pb::FineTune::SUBMIT_UNKNOWN);
  EXPECT_FALSE(patient.ready());
  EXPECT_EQ(kept(), Kept::kBusy);
  segmind_.Release();
  ASSERT_TRUE(RunUntil([&] { return patient.ready(); }));
  EXPECT_EQ(State(patient), pb::FineTune::QUEUED);
  EXPECT_EQ((*patient.get())->id, (*hasty.get())->id);
  EXPECT_EQ(segmind_.posts(), 1);
}

TEST_F(SubmissionTest, SendsNothingThatAnotherProcessHasAndHearsWhatItRecords) {
  Record(record::Intent::PREPARED, "another");
  const CreateReply reply = Begin();
  EXPECT_EQ(kept(), Kept::kAwaited);
  record::Intent told = *Recorded();
  Do([&] { submission_->OnIntent(told); });
  EXPECT_FALSE(reply.ready());
  told.set_state(record::Intent::REFUSED);
  told.set_refusal(EncodeStatus(
      Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::UPSTREAM_REJECTED, "no")));
  Do([&] { submission_->OnIntent(told); });
  EXPECT_EQ(Why(reply), pb::ErrorReason::UPSTREAM_REJECTED);
  EXPECT_EQ(kept(), Kept::kOver);
  EXPECT_EQ(segmind_.posts(), 0);
}

TEST_F(SubmissionTest, OtherParametersUnderItsRequestIdAreRefused) {
  Record(record::Intent::ACCEPTED, "another");
  CreateCall call;
  call.caller = "alice";
  call.request_id = "r";
  call.fine_tune = Request("dogs");
  submission_ = std::make_shared<Submission>(parts_, call, FingerprintOf(call.fine_tune), [] {});
  const CreateReply reply = Add(absl::Seconds(10));
  Do([&] { submission_->Start(); });
  EXPECT_EQ(Why(reply), pb::ErrorReason::REQUEST_ID_REUSED);
  EXPECT_EQ(segmind_.posts(), 0);
}

TEST_F(SubmissionTest, WhoIsToldByOthersIsSentBackIfTheRecordWasLoadedAnew) {
  Record(record::Intent::PREPARED, "another");
  const CreateReply reply = Begin();
  Do([&] { submission_->OnReloaded(); });
  EXPECT_EQ(Why(reply), pb::ErrorReason::STORE_UNAVAILABLE);
  EXPECT_TRUE(RetryDelayOf(reply.get().status()));
}

TEST_F(SubmissionTest, WhatIsLookedAtFirstIsNotSentBeforeAndNotAtAllIfThatSaysNo) {
  absl::AnyInvocable<void(absl::Status) &&> looked;
  CreateCall call;
  call.look = [&](auto done) { looked = std::move(done); };
  const CreateReply reply = Begin(absl::Seconds(10), call);
  EXPECT_EQ(kept(), Kept::kBusy);
  EXPECT_EQ(segmind_.posts(), 0);
  Do([&] {
    std::move(looked)(
        Error(absl::StatusCode::kInvalidArgument, pb::ErrorReason::INVALID_FIELD, "no images"));
  });
  EXPECT_EQ(Why(reply), pb::ErrorReason::INVALID_FIELD);
  EXPECT_EQ(segmind_.posts(), 0);
  EXPECT_FALSE(Recorded());
}

TEST_F(SubmissionTest, ADrainTellsWhatIsKnownAndSendsNothingMore) {
  segmind_.NextSubmits({Fate::kNoConnection});
  const CreateReply paused = Begin();
  Do([&] {
    parts_->draining = true;
    submission_->BeginDrain(clock_.Now() + absl::Seconds(1));
  });
  // Why the first try came to nothing is known.
  ASSERT_TRUE(paused.ready());
  EXPECT_EQ(paused.get().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(kept(), Kept::kOver);
  EXPECT_EQ(segmind_.posts(), 0);
  EXPECT_FALSE(Recorded());
}

TEST_F(SubmissionTest, ADrainShowsWhatIsUnderWayInTime) {
  segmind_.NextSubmits({Fate::kHeld});
  const CreateReply reply = Begin(absl::Minutes(5));
  Do([&] {
    parts_->draining = true;
    submission_->BeginDrain(clock_.Now() + absl::Seconds(2));
  });
  const absl::Time begun = clock_.Now();
  ASSERT_TRUE(RunUntil([&] { return reply.ready(); }));
  EXPECT_LE(clock_.Now() - begun, absl::Seconds(3));
  EXPECT_EQ(State(reply), pb::FineTune::SUBMIT_UNKNOWN);
}

}  // namespace
}  // namespace finetune
