#include "server/service/connections/closed_door.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <vector>

namespace finetune {
namespace {

constexpr Source kHere{.bits = 0x7f000001};            // 127.0.0.1
constexpr Source kElsewhere{.bits = 0x7f000002};       // 127.0.0.2
constexpr Source kSixHere{.is_six = true, .bits = 0};  // ::/64, of which ::1 is.

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { close(fd_); }
  int get() const { return fd_; }

 private:
  const int fd_;
};

// A listener of both families.
class ClosedDoorTest : public ::testing::Test {
 protected:
  ClosedDoorTest() {
    sockaddr_in6 here{};
    here.sin6_family = AF_INET6;
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&here), sizeof(here)), 0);
    EXPECT_EQ(listen(listener_.get(), 8), 0);
    socklen_t size = sizeof(here);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&here), &size);
    port_ = ntohs(here.sin6_port);
  }

  // Whether a connection from there stands at once; on loopback, the kernel's answer is there when
  // connect returns.
  bool IsLetIn(const Source& source) {
    clients_.push_back(std::make_unique<Fd>(
        socket(source.is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)));
    const int fd = clients_.back()->get();
    if (source.is_six) {
      sockaddr_in6 there{};
      there.sin6_family = AF_INET6;
      there.sin6_port = htons(static_cast<uint16_t>(port_));
      there.sin6_addr = in6addr_loopback;
      connect(fd, reinterpret_cast<sockaddr*>(&there), sizeof(there));
    } else {
      sockaddr_in from{}, there{};
      from.sin_family = there.sin_family = AF_INET;
      from.sin_addr.s_addr = htonl(static_cast<uint32_t>(source.bits));
      EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&from), sizeof(from)), 0);
      there.sin_port = htons(static_cast<uint16_t>(port_));
      there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      connect(fd, reinterpret_cast<sockaddr*>(&there), sizeof(there));
    }
    pollfd stands{.fd = fd, .events = POLLOUT, .revents = 0};
    return poll(&stands, 1, 0) == 1 && (stands.revents & POLLERR) == 0;
  }

  const Fd listener_{socket(AF_INET6, SOCK_STREAM, 0)};
  std::vector<std::unique_ptr<Fd>> clients_;
  int port_ = 0;
};

TEST_F(ClosedDoorTest, LetsInAllButThoseItIsClosedTo) {
  EXPECT_TRUE(IsLetIn(kHere));
  ASSERT_TRUE(CloseDoorTo({kSixHere, {.bits = 1}, kElsewhere}, port_));
  EXPECT_TRUE(IsLetIn(kHere));
  EXPECT_FALSE(IsLetIn(kElsewhere));
  EXPECT_FALSE(IsLetIn(kSixHere));
  // Others instead.
  ASSERT_TRUE(CloseDoorTo({{.is_six = true, .bits = 1}, kHere}, port_));
  EXPECT_FALSE(IsLetIn(kHere));
  EXPECT_TRUE(IsLetIn(kElsewhere));
  EXPECT_TRUE(IsLetIn(kSixHere));
}

TEST_F(ClosedDoorTest, LetsInAllAgain) {
  ASSERT_TRUE(CloseDoorTo({}, port_)) << "it is open";
  ASSERT_TRUE(CloseDoorTo({kHere}, port_));
  ASSERT_TRUE(CloseDoorTo({}, port_));
  EXPECT_TRUE(IsLetIn(kHere));
}

TEST_F(ClosedDoorTest, LeavesConnectionsAloneThatStand) {
  ASSERT_TRUE(IsLetIn(kHere));
  const Fd accepted(accept(listener_.get(), nullptr, nullptr));
  ASSERT_TRUE(CloseDoorTo({kHere}, port_));
  char byte = 'x';
  ASSERT_EQ(send(clients_[0]->get(), &byte, 1, 0), 1);
  EXPECT_EQ(recv(accepted.get(), &byte, 1, 0), 1);
}

TEST_F(ClosedDoorTest, IsClosedToAsManyAsTheKernelTakes) {
  std::vector<Source> sources;
  for (uint32_t i = 0; i < 5000; ++i) sources.push_back({.is_six = i % 2 == 1, .bits = 100 + i});
  EXPECT_TRUE(CloseDoorTo(sources, port_));
  EXPECT_TRUE(IsLetIn(kHere));
}

TEST(Source, HasAName) {
  EXPECT_EQ(NameOf(kHere), "127.0.0.1");
  EXPECT_EQ(NameOf({.is_six = true, .bits = 0x20010db800000000}), "2001:db8::/64");
}

}  // namespace
}  // namespace finetune
