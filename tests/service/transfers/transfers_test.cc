#include "server/service/transfers/transfers.h"

#include <gmock/gmock.h>

#include <thread>

#include "tests/base/notification.h"
#include "tests/service/transfers/transfer_rig.h"

namespace finetune {
namespace {

// Ends as soon as it is told to.
class Plain : public Transfer {
 public:
  Plain(Transfers& transfers, bool resumable)
      : Transfer(transfers, {}, nullptr), resumable_(resumable) {}
  bool resumable() const override { return resumable_; }
  void OnHead(const HttpResponse&) override {}
  bool OnData(std::string_view) override { return true; }
  size_t OnSend(char*, size_t) override { return 0; }
  void OnEnd(absl::Status) override {}

  Notification finished;

 private:
  Step Next() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return end_ ? Step::kFinish : Step::kNone;
  }
  void Take(Step) override { finished.Notify(); }
  void Drop() override {}
  bool AwaitsClient() const override { return false; }

  const bool resumable_;
};

class TransfersTest : public TransferRig {
 protected:
  std::shared_ptr<Plain> Enter(Transfers& transfers, bool resumable = true) {
    auto transfer = std::make_shared<Plain>(transfers, resumable);
    status_ = transfers.Enter(transfer);
    return transfer;
  }
  absl::Status status_;
  Transfers two_{{.max_concurrent = 2}, segmind_, streamer_, clock_, metrics_};
};

TEST_F(TransfersTest, LetsInNoMoreThanItMayAndAsksTheRestToComeAgain) {
  const auto first = Enter(two_);
  ASSERT_TRUE(status_.ok());
  const auto second = Enter(two_);
  ASSERT_TRUE(status_.ok());
  Enter(two_);
  EXPECT_EQ(status_.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status_), pb::ErrorReason::OVERLOADED);
  // One that never entered takes nobody's place along.
  two_.Leave(std::make_shared<Plain>(two_, true));
  Enter(two_);
  EXPECT_FALSE(status_.ok());
  two_.Leave(first);
  two_.Leave(first);
  Enter(two_);
  EXPECT_TRUE(status_.ok());
  Enter(two_);
  EXPECT_FALSE(status_.ok());
  two_.Drain(absl::ZeroDuration());
}

TEST_F(TransfersTest, OneThatEndsByItselfMakesRoom) {
  const auto first = Enter(two_);
  const auto second = Enter(two_);
  first->Fail(absl::CancelledError("the client is gone"));
  EXPECT_EQ(first->end(), absl::CancelledError("the client is gone"));
  Enter(two_);
  EXPECT_TRUE(status_.ok());
  two_.Drain(absl::ZeroDuration());
}

TEST_F(TransfersTest, ADrainEndsAtOnceWhatGoesOnElsewhereAndAwaitsTheRest) {
  const auto download = Enter(transfers_, /*resumable=*/true);
  const auto upload = Enter(transfers_, /*resumable=*/false);
  std::thread drain([&] { transfers_.Drain(absl::Hours(1)); });
  download->finished.WaitForNotification();
  EXPECT_EQ(ReasonOf(download->end()), pb::ErrorReason::SERVER_DRAINING);
  EXPECT_TRUE(upload->end().ok());
  Enter(transfers_);
  EXPECT_EQ(ReasonOf(status_), pb::ErrorReason::SERVER_DRAINING);
  upload->Fail(absl::OkStatus());
  drain.join();
}

TEST_F(TransfersTest, ADrainEndsTheRestAfterItsGrace) {
  const auto upload = Enter(transfers_, /*resumable=*/false);
  transfers_.Drain(absl::ZeroDuration());
  EXPECT_EQ(ReasonOf(upload->end()), pb::ErrorReason::SERVER_DRAINING);
}

}  // namespace
}  // namespace finetune
