#include "server/service/calls/call_queues.h"

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

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

// A call that comes; `order` gets its caller when it is run.
class Arrival final : public QueueEvent, private ArrivalTurns::Arrival {
 public:
  Arrival(const Sharer& sharer, std::vector<const Sharer*>& order)
      : sharer_(sharer), order_(order) {}
  void OnEvent(bool) override { ArrivalTurns::RunInTurn(&sharer_, *this); }

  grpc::Alarm alarm;

 private:
  void OnTurn() override { order_.push_back(&sharer_); }

  const Sharer& sharer_;
  std::vector<const Sharer*>& order_;
};

class Hold final : public QueueEvent {
 public:
  void OnEvent(bool) override {
    begun.Notify();
    over.WaitForNotification();
  }
  Notification begun, over;
};

TEST(CallQueuesOfOneThread, WhatOneCallerSendsAtOnceWaitsForItself) {
  constexpr int kFlood = 200;
  grpc::health::v1::Health::AsyncService service;
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  CallQueues queues(builder, 1);
  const auto server = builder.BuildAndStart();
  queues.Start();
  const auto post = [&](grpc::Alarm& alarm, QueueEvent& event) {
    alarm.Set(&queues.arrivals(), gpr_inf_past(GPR_CLOCK_MONOTONIC), &event);
  };
  const Sharer mallory("mallory"), alice("alice");
  std::vector<const Sharer*> order;  // Of the thread, until it is joined.
  Hold hold;
  grpc::Alarm held;
  post(held, hold);
  hold.begun.WaitForNotification();
  std::vector<std::unique_ptr<Arrival>> arrivals;
  arrivals.push_back(std::make_unique<Arrival>(alice, order));
  for (int i = 0; i < kFlood; ++i) arrivals.push_back(std::make_unique<Arrival>(mallory, order));
  arrivals.push_back(std::make_unique<Arrival>(alice, order));
  for (const auto& arrival : arrivals) post(arrival->alarm, *arrival);
  hold.over.Notify();
  Event last;
  grpc::Alarm alarm;
  post(alarm, last);
  last.happened.WaitForNotification();
  server->Shutdown();
  queues.Shutdown();
  ASSERT_EQ(order.size(), arrivals.size());
  const auto turn = std::find(order.begin() + 1, order.end(), &alice) - order.begin();
  EXPECT_LT(turn, kFlood / 4) << "of " << kFlood << " that came before";
}

TEST(CallQueuesWithoutServer, ComeAndGo) {
  grpc::ServerBuilder builder;
  CallQueues queues(builder, 1);
}

}  // namespace
}  // namespace finetune
