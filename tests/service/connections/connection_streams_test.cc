#include "server/service/connections/connection_streams.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace finetune {
namespace {

// Answers, and remembers from where it was called.
class Health final : public grpc::health::v1::Health::Service {
 public:
  grpc::Status Check(grpc::ServerContext* context, const grpc::health::v1::HealthCheckRequest*,
                     grpc::health::v1::HealthCheckResponse*) override {
    peer = context->peer();
    return grpc::Status::OK;
  }
  std::string peer;
};

class ConnectionStreamsTest : public testing::Test {
 protected:
  ConnectionStreamsTest() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 1);
    builder.RegisterService(&health_);
    server_ = builder.BuildAndStart();
  }
  ~ConnectionStreamsTest() override {
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(20));
  }
  // On a connection of its own.
  std::unique_ptr<grpc::health::v1::Health::Stub> Connect() {
    grpc::ChannelArguments own;
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::health::v1::Health::NewStub(grpc::CreateCustomChannel(
        absl::StrCat("127.0.0.1:", port_), grpc::InsecureChannelCredentials(), own));
  }
  // The peer that called.
  std::string Call(grpc::health::v1::Health::Stub& stub) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    grpc::health::v1::HealthCheckResponse answer;
    EXPECT_TRUE(stub.Check(&context, {}, &answer).ok());
    return health_.peer;
  }

  int port_ = 0;
  Health health_;
  std::unique_ptr<grpc::Server> server_;
  ConnectionStreams streams_;
};

TEST_F(ConnectionStreamsTest, CountsTheCallsOfEachConnection) {
  const auto one = Connect(), other = Connect();
  const std::string peer = Call(*one);
  Call(*one);
  const std::string other_peer = Call(*other);
  ASSERT_NE(peer, other_peer);
  const auto counts = streams_.Of(peer);
  ASSERT_TRUE(counts.has_value());
  EXPECT_EQ(counts->started, 2);
  EXPECT_EQ(counts->messages_received, 2);
  EXPECT_EQ(counts->failed, 0);
  EXPECT_EQ(streams_.Of(other_peer)->started, 1);
}

TEST_F(ConnectionStreamsTest, LooksForNewConnectionsOnlyWhenItIsTold) {
  EXPECT_EQ(streams_.Of("ipv4:127.0.0.1:1"), std::nullopt);
  const auto stub = Connect();
  const std::string peer = Call(*stub);
  EXPECT_EQ(streams_.Of(peer), std::nullopt);
  streams_.Refresh();
  EXPECT_TRUE(streams_.Of(peer).has_value());
}

TEST_F(ConnectionStreamsTest, GrowsWithTheConnection) {
  const auto stub = Connect();
  const std::string peer = Call(*stub);
  ASSERT_EQ(streams_.Of(peer)->started, 1);
  Call(*stub);
  EXPECT_EQ(streams_.Of(peer)->started, 2);
}

}  // namespace
}  // namespace finetune
