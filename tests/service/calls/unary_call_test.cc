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

// What ran the two steps of a call whose first one was brought by another thread, and that thread.
struct Steps {
  std::thread::id first, second, bringer;
};

class UnaryCallSteps : public UnaryCallTest {
 protected:
  // `company`: a second call waits meanwhile.
  Steps Run(bool company) {
    Steps steps;
    std::thread other;
    UnaryCall* waiting = nullptr;
    Notification waits, begun;
    Serve([&](auto request, UnaryCall& call) {
      if (request.name() == "waits") {
        waiting = &call;
        return waits.Notify();
      }
      other = std::thread([&, request] {
        // The handler's own thread may still be at the call, and its step waits for nothing.
        call.Later([&, request] {
          steps.first = std::this_thread::get_id();
          call.Later([&, request] {
            steps.second = std::this_thread::get_id();
            call.Reply(Named(request.name()));
          });
        });
      });
      begun.Notify();
    });
    std::thread client;
    if (company) {
      client = std::thread([&] {
        grpc::ClientContext context;
        EXPECT_EQ(Get(context, "waits").second, "done");
      });
      waits.WaitForNotification();
    }
    grpc::ClientContext context;
    EXPECT_EQ(Get(context, "a").second, "a");
    begun.WaitForNotification();
    steps.bringer = other.get_id();
    other.join();
    if (company) {
      waiting->Reply(Named("done"));
      client.join();
    }
    return steps;
  }
};

TEST_F(UnaryCallSteps, RunOneAfterAnotherOnThreadsOfItsQueue) {
  const Steps steps = Run(/*company=*/true);
  EXPECT_EQ(steps.first, steps.second);  // The queue of waits has one.
  EXPECT_NE(steps.first, steps.bringer);
}

TEST_F(UnaryCallSteps, BeginWhereTheyAreBroughtIfTheCallIsAlone) {
  const Steps steps = Run(/*company=*/false);
  EXPECT_EQ(steps.first, steps.bringer);
  EXPECT_NE(steps.second, steps.bringer);
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

}  // namespace
}  // namespace finetune
