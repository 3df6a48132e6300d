#include "server/service/calls/health_service.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class HealthServiceTest : public testing::Test {
 protected:
  HealthServiceTest() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&health_);
    queues_ = std::make_unique<CallQueues>(builder, 2);
    server_ = builder.BuildAndStart();
    health_.Accept(*queues_);
    queues_->Start();
    stub_ = grpc::health::v1::Health::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  }
  ~HealthServiceTest() override {
    health_.Drain();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(20));
    queues_->Shutdown();
  }

  // The state's name, or the error's code.
  std::string Check(const std::string& service) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse answer;
    const grpc::Status status = stub_->Check(&context, request, &answer);
    if (!status.ok()) return absl::StrCat("error ", static_cast<int>(status.error_code()));
    return HealthCheckResponse::ServingStatus_Name(answer.status());
  }

  struct Watch {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> reader;

    std::string Next() {
      HealthCheckResponse answer;
      if (reader->Read(&answer)) return HealthCheckResponse::ServingStatus_Name(answer.status());
      return absl::StrCat("error ", static_cast<int>(reader->Finish().error_code()));
    }
  };
  std::unique_ptr<Watch> MakeWatch(const std::string& service) {
    auto watch = std::make_unique<Watch>();
    watch->context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    HealthCheckRequest request;
    request.set_service(service);
    watch->reader = stub_->Watch(&watch->context, request);
    return watch;
  }

  HealthService health_{{"a.Service"}};
  std::unique_ptr<CallQueues> queues_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::health::v1::Health::Stub> stub_;
};

TEST_F(HealthServiceTest, SaysWhetherItServes) {
  EXPECT_EQ(Check(""), "NOT_SERVING");
  health_.SetServing(true);
  EXPECT_EQ(Check(""), "SERVING");
  EXPECT_EQ(Check("a.Service"), "SERVING");
  health_.SetServing(false);
  EXPECT_EQ(Check("a.Service"), "NOT_SERVING");
}

TEST_F(HealthServiceTest, DoesNotKnowOtherServices) {
  health_.SetServing(true);
  EXPECT_EQ(Check("another.Service"), absl::StrCat("error ", grpc::StatusCode::NOT_FOUND));
  EXPECT_EQ(MakeWatch("another.Service")->Next(), "SERVICE_UNKNOWN");
}

TEST_F(HealthServiceTest, TellsWatchersOfEachChange) {
  const auto watch = MakeWatch("a.Service"), other = MakeWatch("");
  EXPECT_EQ(watch->Next(), "NOT_SERVING");
  EXPECT_EQ(other->Next(), "NOT_SERVING");
  health_.SetServing(true);
  health_.SetServing(true);  // No change.
  EXPECT_EQ(watch->Next(), "SERVING");
  EXPECT_EQ(other->Next(), "SERVING");
  health_.SetServing(false);
  EXPECT_EQ(watch->Next(), "NOT_SERVING");
}

TEST_F(HealthServiceTest, EndsWatchesWhenItDrains) {
  const auto watch = MakeWatch("");
  EXPECT_EQ(watch->Next(), "NOT_SERVING");
  health_.Drain();
  EXPECT_EQ(watch->Next(), absl::StrCat("error ", grpc::StatusCode::UNAVAILABLE));
  // Nobody comes too late to be told.
  EXPECT_EQ(MakeWatch("")->Next(), absl::StrCat("error ", grpc::StatusCode::UNAVAILABLE));
}

TEST_F(HealthServiceTest, OutlivesWatchersThatGo) {
  for (int i = 0; i < 50; ++i) {
    const auto watch = MakeWatch("");
    if (i % 2 == 0) watch->Next();
    watch->context.TryCancel();
  }
  health_.SetServing(true);
  EXPECT_EQ(Check(""), "SERVING");
}

}  // namespace
}  // namespace finetune
