#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "segmind/finetune/v1/fine_tune_service.grpc.pb.h"
#include "server/access/policy_authenticator.h"
#include "server/service/calls/call_queues.h"
#include "server/service/calls/message_bytes.h"
#include "server/service/calls/unary_call.h"
#include "tests/base/manual_clock.h"
#include "tests/base/span_collector.h"

namespace finetune {

// A server of GetFineTune and nothing else, on threads of its own, and a client of it.
class OneMethod {
 public:
  using Service = pb::FineTuneService::WithRawMethod_GetFineTune<pb::FineTuneService::Service>;
  using Handler = std::function<void(pb::GetFineTuneRequest, UnaryCall&)>;

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
  // Ends the server, before anything goes that its handler uses. Idempotent.
  void Shutdown() {
    if (!server_) return;
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(20));
    queues_->Shutdown();
    server_ = nullptr;
    EXPECT_EQ(gate_.unary_calls(), 0);
  }
  ~OneMethod() { Shutdown(); }

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

}  // namespace finetune
