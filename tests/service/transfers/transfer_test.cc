#include "server/service/transfers/transfer.h"

#include <gmock/gmock.h>

#include "tests/service/transfers/transfer_rig.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Reads when it is let, and finishes with whatever it ended with.
class Probe : public Transfer {
 public:
  explicit Probe(Transfers& transfers) : Transfer(transfers, {}, nullptr) {}
  bool resumable() const override { return true; }
  void OnHead(const HttpResponse&) override {}
  bool OnData(std::string_view) override { return true; }
  size_t OnSend(char*, size_t) override { return 0; }
  void OnEnd(absl::Status) override {}

  void Begin() {
    StartStream({});
    Watch();
  }
  void Move(size_t bytes) {
    MutexLock lock(mu_);
    NoteBytes(bytes);
  }
  void Await(bool client) {
    MutexLock lock(mu_);
    awaits_client_ = client;
  }
  bool stuck() const {
    MutexLock lock(mu_);
    return stuck_;
  }
  void LetRead() {
    {
      MutexLock lock(mu_);
      reads_ = 2;
    }
    Turn();
  }
  void Pause() {
    MutexLock lock(mu_);
    paused_ = true;
  }
  void GoOn() { ResumeStream(); }

  std::vector<std::string> steps;
  int dropped = 0;

 private:
  Step Next() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (end_) return Step::kFinish;
    if (reads_ == 0) return Step::kNone;
    --reads_;
    return Step::kRead;
  }
  // What a step leads to comes while it is taken, as gRPC may have it.
  void Take(Step step) override {
    steps.push_back(step == Step::kFinish ? "finish" : "read");
    Turn();
    steps.push_back("done");
  }
  void Drop() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { ++dropped; }
  bool AwaitsClient() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return awaits_client_; }

  bool awaits_client_ ABSL_GUARDED_BY(mu_) = false;
  int reads_ ABSL_GUARDED_BY(mu_) = 0;
};

// Stalls after a minute, or below 100 bytes a second over one.
class TransferTest : public TransferRig {
 protected:
  TransferTest() : transfer_(std::make_shared<Probe>(transfers_)) {
    EXPECT_TRUE(transfers_.Enter(transfer_).ok());
    transfer_->Begin();
  }
  ~TransferTest() override { transfers_.Drain(absl::ZeroDuration()); }

  const std::shared_ptr<Probe> transfer_;
};

TEST_F(TransferTest, OneThreadAtATimeActsOnTheCall) {
  transfer_->LetRead();
  // Two reads, one after the other: what each led to came while it was taken.
  EXPECT_THAT(transfer_->steps, ElementsAre("read", "done", "read", "done"));
}

TEST_F(TransferTest, NothingComesAfterItsFinish) {
  transfer_->Fail(absl::CancelledError("first"));
  transfer_->Fail(absl::InternalError("second"));
  transfer_->LetRead();
  EXPECT_EQ(transfer_->end(), absl::CancelledError("first"));
  EXPECT_THAT(transfer_->steps, ElementsAre("finish", "done"));
  EXPECT_TRUE(streamer_.last().cancelled);
  EXPECT_GT(transfer_->dropped, 0);
}

TEST_F(TransferTest, OneThatHasFailedStartsNoStream) {
  const auto late = std::make_shared<Probe>(transfers_);
  ASSERT_TRUE(transfers_.Enter(late).ok());
  late->Fail(absl::CancelledError("early"));
  const size_t before = streamer_.streams.size();
  late->Begin();
  EXPECT_EQ(streamer_.streams.size(), before);
}

TEST_F(TransferTest, OnlyAPausedStreamIsResumed) {
  const int before = streamer_.last().resumed;
  transfer_->GoOn();
  EXPECT_EQ(streamer_.last().resumed, before);
  transfer_->Pause();
  transfer_->GoOn();
  transfer_->GoOn();
  EXPECT_EQ(streamer_.last().resumed, before + 1);
}

TEST_F(TransferTest, EndsWhenStorageMovesNothingForAMinute) {
  clock_.Advance(absl::Seconds(59));
  EXPECT_TRUE(transfer_->end().ok());
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(transfer_->end().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(transfer_->end().message()), HasSubstr("storage has not moved a byte"));
  EXPECT_FALSE(transfer_->stuck());
}

TEST_F(TransferTest, SaysSoIfItIsTheClientThatMovesNothing) {
  transfer_->Await(true);
  clock_.Advance(absl::Minutes(2));
  EXPECT_EQ(transfer_->end().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(transfer_->end().message()), HasSubstr("the client has not moved"));
  EXPECT_TRUE(transfer_->stuck());
}

TEST_F(TransferTest, EndsWhenItTricklesAndNotBefore) {
  for (int i = 0; i < 9; ++i) {
    transfer_->Move(1'500);  // In 15 seconds: just as much as it must.
    clock_.Advance(absl::Seconds(15));
  }
  EXPECT_TRUE(transfer_->end().ok()) << transfer_->end();
  for (int i = 0; i < 9; ++i) {
    transfer_->Move(1'000);
    clock_.Advance(absl::Seconds(15));
  }
  EXPECT_EQ(transfer_->end().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(transfer_->end().message()), HasSubstr("less than 100 bytes a second"));
}

}  // namespace
}  // namespace finetune
