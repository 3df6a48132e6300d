#include "server/service/connections/tcp_connections.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace finetune {
namespace {

// A listener of this process, a client, and what the listener accepted.
class TcpConnectionsTest : public ::testing::TestWithParam<int> {
 protected:
  TcpConnectionsTest() {
    sockaddr_in6 here{};
    here.sin6_family = AF_INET6;
    // Those of IPv4 are seen as mapped ones.
    here.sin6_addr = GetParam() == AF_INET6 ? in6addr_loopback : in6addr_any;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&here), sizeof(here)), 0);
    EXPECT_EQ(listen(listener_, 4), 0);
    socklen_t size = sizeof(here);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&here), &size);
    port_ = ntohs(here.sin6_port);
    Connect();
    accepted_ = accept(listener_, nullptr, nullptr);
  }
  ~TcpConnectionsTest() override {
    for (const int fd : {accepted_, client_, listener_}) close(fd);
  }

  void Connect() {
    if (GetParam() == AF_INET6) {
      sockaddr_in6 there{.sin6_family = AF_INET6,
                         .sin6_port = htons(static_cast<uint16_t>(port_)),
                         .sin6_flowinfo = 0,
                         .sin6_addr = in6addr_loopback,
                         .sin6_scope_id = 0};
      ASSERT_EQ(connect(client_, reinterpret_cast<sockaddr*>(&there), sizeof(there)), 0);
      socklen_t size = sizeof(there);
      getsockname(client_, reinterpret_cast<sockaddr*>(&there), &size);
      name_ = "ipv6:%5B::1%5D:" + std::to_string(ntohs(there.sin6_port));
      return;
    }
    sockaddr_in there{};
    there.sin_family = AF_INET;
    there.sin_port = htons(static_cast<uint16_t>(port_));
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(connect(client_, reinterpret_cast<sockaddr*>(&there), sizeof(there)), 0);
    socklen_t size = sizeof(there);
    getsockname(client_, reinterpret_cast<sockaddr*>(&there), &size);
    name_ = "ipv4:127.0.0.1:" + std::to_string(ntohs(there.sin_port));
  }

  void SendFromClient(size_t bytes) {
    const std::string text(bytes, 'x');
    ASSERT_EQ(send(client_, text.data(), text.size(), 0), static_cast<ssize_t>(bytes));
  }

  const int listener_ = socket(AF_INET6, SOCK_STREAM, 0);
  const int client_ = socket(GetParam(), SOCK_STREAM, 0);
  int accepted_ = -1;
  int port_ = 0;
  std::string name_;
};

TEST_P(TcpConnectionsTest, FindsWhatWasAcceptedAndHowMuchOfItWasRead) {
  SendFromClient(1000);
  char bytes[600];
  ASSERT_EQ(recv(accepted_, bytes, sizeof(bytes), MSG_WAITALL), 600);
  const auto found = ConnectionsOn(port_);
  ASSERT_EQ(found.size(), 1) << "neither the listener nor the client's end";
  EXPECT_EQ(found[0].fd, accepted_);
  EXPECT_EQ(found[0].peer, name_);
  EXPECT_EQ(found[0].read_bytes, 600);
  EXPECT_TRUE(ConnectionsOn(1).empty());
}

TEST_P(TcpConnectionsTest, EndsOneWithWhatNobodyHasRead) {
  SendFromClient(1000);
  char byte = 0;
  ASSERT_EQ(recv(accepted_, &byte, 1, 0), 1);  // All has come.
  ASSERT_TRUE(CutConnection(ConnectionsOn(port_).at(0)));
  EXPECT_EQ(recv(accepted_, &byte, 1, 0), 0);
  EXPECT_EQ(recv(client_, &byte, 1, 0), 0);
}

TEST_P(TcpConnectionsTest, LeavesTheNextOneAloneThatHasItsDescriptor) {
  TcpConnection gone = ConnectionsOn(port_).at(0);
  gone.inode += 1;
  EXPECT_FALSE(CutConnection(gone));
  gone.fd = 1'000'000;
  EXPECT_FALSE(CutConnection(gone));
  SendFromClient(1);
  char byte = 0;
  EXPECT_EQ(recv(accepted_, &byte, 1, 0), 1);
}

INSTANTIATE_TEST_SUITE_P(Families, TcpConnectionsTest, ::testing::Values(AF_INET, AF_INET6),
                         [](const auto& info) { return info.param == AF_INET ? "Four" : "Six"; });

}  // namespace
}  // namespace finetune
