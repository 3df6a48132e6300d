#include "server/service/grpc_server.h"

#include <gmock/gmock.h>
#include <grpc/health/v1/health.grpc.pb.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include "server/service/listener_probe.h"
#include "tests/service/service_world.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using Health = grpc::health::v1::HealthCheckResponse;

class GrpcServerTest : public ::testing::Test {
 protected:
  Health::ServingStatus HealthOf(const std::string& service) {
    const auto stub = grpc::health::v1::Health::NewStub(world_.channel);
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    Health answer;
    EXPECT_TRUE(stub->Check(Context().get(), request, &answer).ok());
    return answer.status();
  }
  // How a call of that method ends, whose request is empty.
  grpc::Status Call(const std::string& method) {
    grpc::GenericStub stub(world_.channel);
    const auto context = Context();
    const grpc::Slice empty;
    const grpc::ByteBuffer request(&empty, 1);
    grpc::ByteBuffer response;
    absl::Notification done;
    grpc::Status status;
    stub.UnaryCall(context.get(), method, {}, &request, &response, [&](grpc::Status ended) {
      status = ended;
      done.Notify();
    });
    done.WaitForNotification();
    return status;
  }

  ServiceWorld world_;
};

TEST_F(GrpcServerTest, IsNotHealthyUntilItIsToldTo) {
  for (const char* service : {"", "segmind.finetune.v1.FineTuneService"}) {
    EXPECT_EQ(HealthOf(service), Health::NOT_SERVING) << service;
    world_.server->SetServing(true);
    EXPECT_EQ(HealthOf(service), Health::SERVING) << service;
    world_.server->SetServing(false);
  }
}

TEST_F(GrpcServerTest, SaysWhyItCannotListen) {
  for (const auto& [host, why] : std::vector<std::pair<std::string, std::string>>{
           {"127.0.0.1", "Address already in use"},
           {"192.0.2.1", "Cannot assign requested address"}}) {
    FineTuneService service(world_.parts, world_.gate);
    const auto second = GrpcServer::Start({.host = host,
                                           .port = world_.server->port(),
                                           .credentials = grpc::InsecureServerCredentials()},
                                          service, world_.gate);
    ASSERT_FALSE(second.ok());
    EXPECT_TRUE(absl::IsUnavailable(second.status()));
    EXPECT_THAT(std::string(second.status().message()),
                HasSubstr(absl::StrCat("cannot listen on ", host, ":", world_.server->port())));
    EXPECT_THAT(std::string(second.status().message()), HasSubstr(why));
  }
}

TEST_F(GrpcServerTest, ShutsDownOnceHoweverOftenItIsTold) {
  world_.Put("a");
  world_.Stop();
  world_.Stop();
  pb::GetFineTuneRequest request;
  request.set_name("fineTunes/a");
  pb::FineTune job;
  EXPECT_EQ(world_.stub->GetFineTune(Context().get(), request, &job).error_code(),
            grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcServerTest, ServesOnlyWhatItWasAskedFor) {
  // The world asks for reflection, and for no channelz.
  EXPECT_EQ(ReasonIn(Call("/grpc.channelz.v1.Channelz/GetServers")), "UNIMPLEMENTED");
}

TEST_F(GrpcServerTest, AnswersUnknownMethodsWithATypedError) {
  const grpc::Status status = Call("/no.such.Service/Method");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(ReasonIn(status), "UNIMPLEMENTED");
}

TEST_F(GrpcServerTest, TakesTokensOfSixteenKibibytes) {
  world_.Put("a");
  auto context = Context();
  context->AddMetadata("authorization", "Bearer " + std::string(16 << 10, 'x'));
  context->AddMetadata("x-forwarded-client-cert", std::string(8 << 10, 'y'));
  pb::GetFineTuneRequest request;
  request.set_name("fineTunes/a");
  pb::FineTune job;
  const grpc::Status status = world_.stub->GetFineTune(context.get(), request, &job);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_F(GrpcServerTest, TheProbeSeesTheListener) {
  const int port = world_.server->port();
  EXPECT_TRUE(ProbeListener("127.0.0.1", port, /*tls=*/false, absl::Seconds(5)).ok());
  world_.Stop();
  EXPECT_FALSE(ProbeListener("127.0.0.1", port, /*tls=*/false, absl::Seconds(1)).ok());
}

}  // namespace
}  // namespace finetune
