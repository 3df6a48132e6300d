#include "server/service/calls/unary_call.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "server/access/policy_authenticator.h"
#include "server/service/calls/call_queues.h"
#include "server/service/calls/message_bytes.h"
#include "tests/base/manual_clock.h"
#include "tests/base/notification.h"
#include "tests/base/span_collector.h"

namespace finetune {
namespace {

using Service = pb::FineTuneService::WithRawMethod_GetFineTune<pb::FineTuneService::Service>;
using Handler = std::function<void(pb::GetFineTuneRequest, UnaryCall&)>;

// GetFineTune and nothing else, on threads of its own.
class UnaryCallTest : public testing::Test {
 protected:
  // What calls are handled with.
  void Serve(Handler handler) {
    method_ = {
        Method::kGetFineTune,
        [this](grpc::ServerContext& context, grpc::ByteBuffer& request, UnaryMethod::Writer& writer,
               grpc::CompletionQueue& queue, grpc::ServerCompletionQueue& arrivals, void* tag) {
          service_.RequestGetFineTune(&context, &request, &writer, &queue, &arrivals, tag);
        },
        [handler = std::move(handler)](const grpc::ByteBuffer& bytes, UnaryCall& call) {
          pb::GetFineTuneRequest request;
          ASSERT_TRUE(ReadMessage(bytes, request).ok());
          handler(std::move(request), call);
        }};
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    queues_ = std::make_unique<CallQueues>(builder, 2);
    server_ = builder.BuildAndStart();
    UnaryCall::Accept(
        {.method = method_, .gate = gate_, .queues = *queues_, .queue = queues_->waits()});
    queues_->Start();
    grpc::ChannelArguments small_windows;
    small_windows.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    stub_ = pb::FineTuneService::NewStub(grpc::CreateCustomChannel(
        absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials(), small_windows));
  }
  ~UnaryCallTest() override {
    if (!server_) return;
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(20));
    queues_->Shutdown();
    EXPECT_EQ(gate_.unary_calls(), 0);
  }

  std::pair<grpc::Status, std::string> Get(grpc::ClientContext& context, const std::string& name) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    pb::GetFineTuneRequest request;
    request.set_name(name);
    pb::FineTune answer;
    const grpc::Status status = stub_->GetFineTune(&context, request, &answer);
    return {status, answer.name()};
  }
  static pb::FineTune Named(const std::string& name) {
    pb::FineTune job;
    job.set_name(name);
    return job;
  }

  std::unique_ptr<Authenticator> door_ = MakeOpenAuthenticator();
  ManualClock clock_{absl::Now()};
  Metrics metrics_;
  SpanCollector spans_;
  Tracer tracer_{{}, spans_, clock_};
  CallGate gate_{{}, *door_, clock_, metrics_, tracer_};
  Service service_;
  UnaryMethod method_;
  std::unique_ptr<CallQueues> queues_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<pb::FineTuneService::Stub> stub_;
};

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
  std::vector<std::thread> threads;
  Serve([&](auto request, UnaryCall& call) {
    threads.emplace_back([request, &call] {
      if (request.name() == "none")
        call.Fail(absl::NotFoundError("none"));
      else
        call.Reply(Named(request.name()));
    });
  });
  grpc::ClientContext found, missing;
  EXPECT_EQ(Get(found, "a").second, "a");
  EXPECT_EQ(Get(missing, "none").first.error_code(), grpc::StatusCode::NOT_FOUND);
  for (auto& thread : threads) thread.join();
}

TEST_F(UnaryCallTest, RunsStepsOneAfterAnotherOnThreadsOfItsQueue) {
  std::vector<std::thread::id> ran;
  std::thread other;
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
  });
  grpc::ClientContext context;
  EXPECT_EQ(Get(context, "a").second, "a");
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

}  // namespace
}  // namespace finetune
