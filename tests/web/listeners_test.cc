#include "server/web/listeners.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

namespace finetune {
namespace {

using ::testing::HasSubstr;

// Whether somebody listens there; nullopt if this machine has no such address.
std::optional<bool> Connects(const char* address, int port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(address, std::to_string(port).c_str(), &hints, &found) != 0) return std::nullopt;
  const int fd = socket(found->ai_family, SOCK_STREAM, 0);
  const bool connects = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0;
  const int error = errno;
  close(fd);
  freeaddrinfo(found);
  if (!connects && (error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == ENETUNREACH))
    return std::nullopt;
  return connects;
}

TEST(Listeners, TakeEveryAddressOfAName) {
  const auto listeners = Listeners::Open("localhost", 0);
  ASSERT_TRUE(listeners.ok()) << listeners.status();
  EXPECT_EQ(Connects("127.0.0.1", listeners->port()), true);
  addrinfo* found = nullptr;
  if (getaddrinfo("localhost", nullptr, nullptr, &found) != 0) return;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next)
    if (one->ai_family == AF_INET6) EXPECT_NE(Connects("::1", listeners->port()), false);
  freeaddrinfo(found);
}

TEST(Listeners, TakeOneAddressAlone) {
  const auto listeners = Listeners::Open("127.0.0.1", 0);
  ASSERT_TRUE(listeners.ok()) << listeners.status();
  EXPECT_EQ(listeners->sockets().size(), 1u);
  EXPECT_NE(Connects("::1", listeners->port()), true);
}

TEST(Listeners, TakeBothFamiliesForTheAddressThatMeansAll) {
  const auto listeners = Listeners::Open("[::]", 0);
  if (!listeners.ok()) GTEST_SKIP() << "no IPv6 here";
  EXPECT_EQ(Connects("127.0.0.1", listeners->port()), true);
  EXPECT_EQ(Connects("::1", listeners->port()), true);
}

TEST(Listeners, AreRefusedWhereOneOfTheAddressesIsTaken) {
  const auto one = Listeners::Open("127.0.0.1", 0);
  ASSERT_TRUE(one.ok());
  const auto all = Listeners::Open("localhost", one->port());
  EXPECT_THAT(std::string(all.status().message()), HasSubstr("Address already in use"));
}

TEST(Listeners, SayWhyThereAreNone) {
  EXPECT_THAT(std::string(Listeners::Open("no-such-host.invalid", 0).status().message()),
              HasSubstr("cannot listen on no-such-host.invalid:0: "));
  EXPECT_THAT(std::string(Listeners::Open("192.0.2.1", 0).status().message()),
              HasSubstr("Cannot assign requested address"));
}

}  // namespace
}  // namespace finetune
