#include "server/service/listener_probe.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "grpc/health/v1/health.grpc.pb.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

// Listens and takes no connection off its queue.
class MuteListener {
 public:
  MuteListener() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~MuteListener() { close(fd_); }
  void Listen() { EXPECT_EQ(listen(fd_, 5), 0); }
  int port() const { return port_; }

 private:
  const int fd_;
  int port_ = 0;
};

TEST(ListenerProbe, AServerThatTakesConnectionsIsWell) {
  grpc::health::v1::Health::Service service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  for (const char* host : {"127.0.0.1", "0.0.0.0"}) {
    const absl::Status status = ProbeListener(host, port, /*tls=*/false, absl::Seconds(20));
    EXPECT_TRUE(status.ok()) << host << ": " << status;
  }
  server->Shutdown();
}

TEST(ListenerProbe, OneThatTakesThemAndSaysNothingIsNot) {
  MuteListener listener;
  listener.Listen();
  const absl::Status status =
      ProbeListener("127.0.0.1", listener.port(), /*tls=*/false, absl::Milliseconds(100));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("does not answer"));
}

TEST(ListenerProbe, APortWhereNobodyListensRefuses) {
  const MuteListener bound;
  const absl::Status status =
      ProbeListener("127.0.0.1", bound.port(), /*tls=*/false, absl::Seconds(20));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("refuses connections"));
}

TEST(ListenerProbe, AHostWithoutAnAddressSaysSo) {
  const absl::Status status = ProbeListener("[no address]", 1, /*tls=*/false, absl::Seconds(20));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("has no address"));
}

TEST(ListenerProbe, NeverTakesLongerThanItMay) {
  MuteListener listener;
  listener.Listen();
  EXPECT_FALSE(
      ProbeListener("127.0.0.1", listener.port(), /*tls=*/false, absl::ZeroDuration()).ok());
}

}  // namespace
}  // namespace finetune
