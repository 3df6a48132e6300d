#include "server/service/calls/queued_call.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/base/notification.h"

namespace finetune {
namespace {

using Health = grpc::health::v1::Health;

// What the test hears of one call.
struct Heard {
  Notification arrived;
  Notification gone;
  std::atomic<bool> was_cancelled = false;
  Notification deleted;
};

// A check that is answered when the test says so.
class Check final : public QueuedCall {
 public:
  Check(Health::AsyncService& service, CallQueues& queues, Heard& heard)
      : QueuedCall(queues), service_(service), heard_(heard) {
    Ask(context_);
  }
  void Answer() { writer_.Finish({}, grpc::Status::OK, finished_.Begin()); }
  void Cancel() { context_.TryCancel(); }

 private:
  ~Check() override { heard_.deleted.Notify(); }
  void Request(void* tag) override {
    service_.RequestCheck(&context_, &request_, &writer_, &arrivals(), &arrivals(), tag);
  }
  void OnArrived() override { heard_.arrived.Notify(); }
  void OnGone(bool cancelled) override {
    heard_.was_cancelled = cancelled;
    heard_.gone.Notify();
  }
  void OnFinished(bool) {}

  Health::AsyncService& service_;
  Heard& heard_;
  grpc::ServerContext context_;
  grpc::health::v1::HealthCheckRequest request_;
  grpc::ServerAsyncResponseWriter<grpc::health::v1::HealthCheckResponse> writer_{&context_};
  Operation<Check> finished_{*this, &Check::OnFinished};
};

class QueuedCallTest : public testing::Test {
 protected:
  QueuedCallTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    queues_ = std::make_unique<CallQueues>(builder, 2);
    server_ = builder.BuildAndStart();
    // Before threads run: it owns itself from here on.
    call_ = new Check(service_, *queues_, heard_);
    queues_->Start();
    stub_ = Health::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  }
  ~QueuedCallTest() override { Shutdown(); }
  void Shutdown() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(20));
    queues_->Shutdown();
    server_ = nullptr;
  }
  // Its outcome, once it has one.
  void Begin(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    stub_->async()->Check(&context, &request_, &response_, [this](grpc::Status status) {
      status_ = std::move(status);
      answered_.Notify();
    });
  }

  Health::AsyncService service_;
  Heard heard_;
  std::unique_ptr<CallQueues> queues_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Health::Stub> stub_;
  Check* call_ = nullptr;
  grpc::health::v1::HealthCheckRequest request_;
  grpc::health::v1::HealthCheckResponse response_;
  grpc::Status status_;
  Notification answered_;
};

TEST_F(QueuedCallTest, OneThatIsAnsweredIsGoneAndNotCancelled) {
  grpc::ClientContext context;
  Begin(context);
  heard_.arrived.WaitForNotification();
  EXPECT_FALSE(heard_.deleted.HasBeenNotified());
  call_->Answer();
  heard_.gone.WaitForNotification();
  EXPECT_FALSE(heard_.was_cancelled);
  heard_.deleted.WaitForNotification();
  answered_.WaitForNotification();
  EXPECT_TRUE(status_.ok()) << status_.error_message();
}

TEST_F(QueuedCallTest, OneWhoseClientGoesIsCancelledAndLivesUntilItsOperationsHaveEnded) {
  grpc::ClientContext context;
  Begin(context);
  heard_.arrived.WaitForNotification();
  context.TryCancel();
  heard_.gone.WaitForNotification();
  EXPECT_TRUE(heard_.was_cancelled);
  answered_.WaitForNotification();
  EXPECT_EQ(status_.error_code(), grpc::StatusCode::CANCELLED);
  heard_.deleted.WaitForNotification();
}

TEST_F(QueuedCallTest, OneThatIsCancelledHereIsGoneToo) {
  grpc::ClientContext context;
  Begin(context);
  heard_.arrived.WaitForNotification();
  call_->Cancel();
  heard_.gone.WaitForNotification();
  EXPECT_TRUE(heard_.was_cancelled);
  heard_.deleted.WaitForNotification();
  answered_.WaitForNotification();
}

TEST_F(QueuedCallTest, OneThatNeverCameGoesWithTheServerAndWasNeverTold) {
  Shutdown();
  heard_.deleted.WaitForNotification();
  EXPECT_FALSE(heard_.arrived.HasBeenNotified());
  EXPECT_FALSE(heard_.gone.HasBeenNotified());
}

}  // namespace
}  // namespace finetune
