#include "server/service/calls/untaken_answers.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <thread>

#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "server/base/error.h"
#include "tests/base/manual_clock.h"
#include "tests/base/notification.h"

namespace finetune {
namespace {

// A call that stays at the server until it is let go.
class HeldCall : public pb::FineTuneService::Service {
 public:
  HeldCall() {
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    client_ = std::thread([this] {
      grpc::ClientContext context;
      pb::FineTune answer;
      status_ = pb::FineTuneService::NewStub(server_->InProcessChannel({}))
                    ->GetFineTune(&context, pb::GetFineTuneRequest(), &answer);
    });
    came_.WaitForNotification();
  }
  ~HeldCall() override { LetGo(); }

  grpc::ServerContextBase& context() { return *context_; }
  // How it ended for its client.
  grpc::StatusCode LetGo() {
    let_go_.Notify();
    if (client_.joinable()) client_.join();
    server_->Shutdown();
    return status_.error_code();
  }

 private:
  grpc::Status GetFineTune(grpc::ServerContext* context, const pb::GetFineTuneRequest*,
                           pb::FineTune*) override {
    context_ = context;
    came_.Notify();
    let_go_.WaitForNotification();
    return grpc::Status::OK;
  }

  grpc::ServerContext* context_ = nullptr;
  Notification came_, let_go_;
  grpc::Status status_;
  std::unique_ptr<grpc::Server> server_;
  std::thread client_;
};

class UntakenAnswersTest : public ::testing::Test {
 protected:
  int Cancelled() {
    return static_cast<int>(metrics_.Counter("finetune_gateway_untaken_answers_total", "").Value());
  }
  ManualClock clock_;
  Metrics metrics_;
  UntakenAnswers untaken_{clock_, metrics_};
};

TEST_F(UntakenAnswersTest, ACallWhoseAnswerNobodyTakesIsCancelledAfterHalfAMinute) {
  HeldCall call;
  UntakenAnswers::Place place;
  untaken_.Add(place, call.context());
  clock_.Advance(absl::Seconds(29));
  EXPECT_EQ(Cancelled(), 0);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(Cancelled(), 1);
  untaken_.Remove(place);
  EXPECT_EQ(call.LetGo(), grpc::StatusCode::CANCELLED);
}

TEST_F(UntakenAnswersTest, OneThatIsTakenInTimeIsNot) {
  HeldCall call;
  UntakenAnswers::Place place;
  untaken_.Add(place, call.context());
  clock_.Advance(absl::Seconds(29));
  untaken_.Remove(place);
  untaken_.Remove(place);
  clock_.Advance(absl::Minutes(5));
  EXPECT_EQ(Cancelled(), 0);
  EXPECT_EQ(call.LetGo(), grpc::StatusCode::OK);
}

TEST_F(UntakenAnswersTest, EachHasItsOwnTimeAndOneTimerIsEnough) {
  HeldCall first, second, third;
  UntakenAnswers::Place places[3];
  untaken_.Add(places[0], first.context());
  clock_.Advance(absl::Seconds(10));
  untaken_.Add(places[1], second.context());
  clock_.Advance(absl::Seconds(10));
  untaken_.Add(places[2], third.context());
  EXPECT_EQ(clock_.timers(), 1u);
  untaken_.Remove(places[1]);
  clock_.Advance(absl::Seconds(10));
  EXPECT_EQ(Cancelled(), 1);
  clock_.Advance(absl::Seconds(19));
  EXPECT_EQ(Cancelled(), 1);
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(Cancelled(), 2);
  EXPECT_EQ(clock_.timers(), 0u);
  EXPECT_EQ(first.LetGo(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(second.LetGo(), grpc::StatusCode::OK);
  EXPECT_EQ(third.LetGo(), grpc::StatusCode::CANCELLED);
}

TEST_F(UntakenAnswersTest, LeavesNoTimerBehind) {
  HeldCall call;
  UntakenAnswers::Place place;
  {
    UntakenAnswers gone(clock_, metrics_);
    gone.Add(place, call.context());
    gone.Remove(place);
  }
  EXPECT_EQ(clock_.timers(), 0u);
}

}  // namespace
}  // namespace finetune
