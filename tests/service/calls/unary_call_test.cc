#include "server/service/calls/unary_call.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "tests/base/notification.h"
#include "tests/service/calls/one_method.h"

namespace finetune {
namespace {

class UnaryCallTest : public testing::Test, protected OneMethod {};

TEST_F(UnaryCallTest, AnswersFromItsHandler) {
  Serve([](auto request, UnaryCall& call) { call.Reply(Named(request.name() + "!")); });
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    const auto [status, name] = Get(context, std::to_string(i));
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(name, std::to_string(i) + "!");
  }
}

TEST_F(UnaryCallTest, AnswersFromAnyThread) {
  // Whoever answers may be ahead of the handler that has begun the thread.
  std::vector<std::thread> threads;
  Notification begun[2];
  Serve([&](auto request, UnaryCall& call) {
    threads.emplace_back([request, &call] {
      if (request.name() == "none")
        call.Fail(absl::NotFoundError("none"));
      else
        call.Reply(Named(request.name()));
    });
    begun[threads.size() - 1].Notify();
  });
  grpc::ClientContext found, missing;
  EXPECT_EQ(Get(found, "a").second, "a");
  begun[0].WaitForNotification();
  EXPECT_EQ(Get(missing, "none").first.error_code(), grpc::StatusCode::NOT_FOUND);
  begun[1].WaitForNotification();
  for (auto& thread : threads) thread.join();
}

TEST_F(UnaryCallTest, RunsStepsOneAfterAnotherOnThreadsOfItsQueue) {
  std::vector<std::thread::id> ran;
  std::thread other;
  Notification begun;
  Serve([&](auto request, UnaryCall& call) {
    other = std::thread([&, request] {
      call.Later([&, request] {
        ran.push_back(std::this_thread::get_id());
        call.Later([&, request] {
          ran.push_back(std::this_thread::get_id());
          call.Reply(Named(request.name()));
        });
      });
    });
    begun.Notify();
  });
  grpc::ClientContext context;
  EXPECT_EQ(Get(context, "a").second, "a");
  begun.WaitForNotification();
  ASSERT_EQ(ran.size(), 2);
  EXPECT_EQ(ran[0], ran[1]);  // The queue of waits has one.
  EXPECT_NE(ran[0], other.get_id());
  other.join();
}

TEST_F(UnaryCallTest, TellsOnceThatItsClientIsGoneAndIsAnsweredAllTheSame) {
  Notification handled, gone;
  UnaryCall* waiting = nullptr;
  Serve([&](auto, UnaryCall& call) {
    waiting = &call;
    call.OnCancelDo([&] { gone.Notify(); });
    handled.Notify();
  });
  grpc::ClientContext context;
  std::thread client(
      [&] { EXPECT_EQ(Get(context, "a").first.error_code(), grpc::StatusCode::CANCELLED); });
  handled.WaitForNotification();
  context.TryCancel();
  gone.WaitForNotification();
  client.join();
  EXPECT_EQ(gate_.unary_calls(), 1);
  waiting->Fail(absl::CancelledError("the client is gone"));
}

TEST_F(UnaryCallTest, TellsOfAClientThatWentWhileItsHandlerRan) {
  Notification handling, go, gone;
  Serve([&](auto, UnaryCall& call) {
    handling.Notify();
    go.WaitForNotification();
    call.OnCancelDo([&] {
      gone.Notify();
      call.Fail(absl::CancelledError("the client is gone"));
    });
  });
  grpc::ClientContext context;
  std::thread client([&] { Get(context, "a"); });
  handling.WaitForNotification();
  context.TryCancel();
  client.join();
  go.Notify();
  gone.WaitForNotification();
}

TEST_F(UnaryCallTest, EndsWhenItsAnswerIsNotTaken) {
  Serve([](auto, UnaryCall& call) { call.Reply(Named(std::string(1 << 20, 'x'))); });
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto reader = stub_->PrepareAsyncGetFineTune(&context, {}, &queue);
  reader->StartCall();
  reader->ReadInitialMetadata(&context);
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(gate_.unary_calls(), 1);
  clock_.Advance(absl::Seconds(29));
  EXPECT_EQ(gate_.unary_calls(), 1);
  clock_.Advance(absl::Seconds(1));
  grpc::Status status;
  pb::FineTune answer;
  reader->Finish(&answer, &status, &context);
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) continue;
}

// More come than are looked at one by one: several threads gather and run them.
TEST_F(UnaryCallTest, AnswersEachOfManyAtOnce) {
  Serve([](pb::GetFineTuneRequest request, UnaryCall& call) { call.Reply(Named(request.name())); });
  struct Open {
    grpc::ClientContext context;
    pb::FineTune answer;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<pb::FineTune>> reader;
  };
  constexpr int kCalls = 2000;
  std::vector<Open> calls(kCalls);
  grpc::CompletionQueue queue;
  for (int i = 0; i < kCalls; ++i) {
    pb::GetFineTuneRequest request;
    request.set_name(absl::StrCat("fineTunes/", i));
    calls[i].reader = stub_->AsyncGetFineTune(&calls[i].context, request, &queue);
    calls[i].reader->Finish(&calls[i].answer, &calls[i].status, &calls[i]);
  }
  void* tag = nullptr;
  bool ok = false;
  for (int i = 0; i < kCalls; ++i) ASSERT_TRUE(queue.Next(&tag, &ok));
  queue.Shutdown();
  for (int i = 0; i < kCalls; ++i) {
    EXPECT_TRUE(calls[i].status.ok()) << calls[i].status.error_message();
    EXPECT_EQ(calls[i].answer.name(), absl::StrCat("fineTunes/", i));
  }
}

}  // namespace
}  // namespace finetune
