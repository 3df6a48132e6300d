#include "server/service/calls/call_queues.h"

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>

#include "grpc/health/v1/health.grpc.pb.h"
#include "server/service/calls/queue_event.h"
#include "tests/base/notification.h"

namespace finetune {
namespace {

class Event final : public QueueEvent {
 public:
  void OnEvent(bool ok) override {
    EXPECT_TRUE(ok);
    thread = std::this_thread::get_id();
    happened.Notify();
  }

  Notification happened;
  std::thread::id thread;
};

class CallQueuesTest : public testing::Test {
 protected:
  CallQueuesTest() {
    builder_.RegisterService(&service_);
    queues_ = std::make_unique<CallQueues>(builder_, 2);
    server_ = builder_.BuildAndStart();
    queues_->Start();
  }
  ~CallQueuesTest() override { server_->Shutdown(); }

  void Tell(grpc::CompletionQueue& queue, Event& event) {
    grpc::Alarm alarm;
    alarm.Set(&queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), static_cast<QueueEvent*>(&event));
    event.happened.WaitForNotification();
  }

  grpc::health::v1::Health::AsyncService service_;
  grpc::ServerBuilder builder_;
  std::unique_ptr<CallQueues> queues_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(CallQueuesTest, HaveThreadsOfTheirOwn) {
  Event arrival, wait;
  Tell(queues_->arrivals(), arrival);
  Tell(queues_->waits(), wait);
  EXPECT_NE(arrival.thread, wait.thread);
  EXPECT_NE(arrival.thread, std::this_thread::get_id());
  server_->Shutdown();
  queues_->Shutdown();
}

TEST_F(CallQueuesTest, TellUntilTheLastCallHasLeft) {
  queues_->calls()->Enter();
  queues_->calls()->Enter();
  server_->Shutdown();
  std::thread stopper([&] { queues_->Shutdown(); });
  queues_->calls()->Leave();
  Event late;
  Tell(queues_->waits(), late);  // gRPC would end the process if the queue were shut down.
  queues_->calls()->Leave();
  stopper.join();
  queues_->Shutdown();
}

TEST(CallQueuesWithoutServer, ComeAndGo) {
  grpc::ServerBuilder builder;
  CallQueues queues(builder, 1);
}

}  // namespace
}  // namespace finetune
