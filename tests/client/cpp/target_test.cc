#include "client/cpp/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <vector>

namespace finetune {
namespace {

TEST(Target, HostAndPortOfWhatPeopleWrite) {
  EXPECT_EQ(HostAndPortOf("gateway:50051")->host, "gateway");
  EXPECT_EQ(HostAndPortOf("dns:///gateway:50051")->port, "50051");
  EXPECT_EQ(HostAndPortOf("[::1]:7")->host, "::1");
  EXPECT_FALSE(HostAndPortOf("unix:/run/gateway").has_value());
  EXPECT_FALSE(HostAndPortOf("gateway").has_value());
}

TEST(Target, AnAddressNeedsAPort) {
  for (const char* target :
       {"127.0.0.1:1", "gateway:1", "[::1]:1", "ipv4:127.0.0.1:1", "ipv6:[::1]:1",
        "dns:///gateway:1", "dns://8.8.8.8/gateway:1", "unix:/x", "unix-abstract:x", "xds:///x"})
    EXPECT_TRUE(CheckTarget(target).ok()) << CheckTarget(target);
  for (const char* target : {"127.0.0.1", "gateway", "::1", "[::1]", "gateway:0", "gateway:70000",
                             "dns:///gateway", "ipv4:127.0.0.1", ":50051", "gateway:http"})
    EXPECT_EQ(CheckTarget(target).code(), absl::StatusCode::kInvalidArgument) << target;
}

TEST(Target, ThisMachineIsKnownByAllItsNames) {
  for (const char* target : {"localhost:1", "LOCALHOST:1", "127.0.0.1:1", "127.8.9.1:1", "[::1]:1",
                             "dns:///localhost:1", "unix:/run/gateway", "unix-abstract:gateway"}) {
    EXPECT_TRUE(StaysOnThisMachine(target)) << target;
  }
  for (const char* target :
       {"gateway:1", "127.0.0.1.example:1", "localhost.example:1", "10.0.0.1:1"})
    EXPECT_FALSE(StaysOnThisMachine(target)) << target;
}

class ProxyTest : public testing::Test {
 protected:
  ProxyTest() { Clear(); }
  ~ProxyTest() override { Clear(); }

  static void Clear() {
    for (const char* name :
         {"grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy", "NO_PROXY"})
      unsetenv(name);
  }
};

TEST_F(ProxyTest, LoopbackNeverGoesThroughOne) {
  setenv("https_proxy", "http://user:secret@proxy:3128", 1);
  EXPECT_FALSE(ProxyFor("127.0.0.1:50051").has_value());
  EXPECT_FALSE(ProxyFor("localhost:50051").has_value());
  const auto proxy = ProxyFor("gateway:50051");
  ASSERT_TRUE(proxy.has_value());
  EXPECT_EQ(proxy->variable, "https_proxy");
  EXPECT_EQ(proxy->url, "http://proxy:3128");
}

TEST_F(ProxyTest, ListsOfExceptionsAreReadAsOthersReadThem) {
  setenv("http_proxy", "http://proxy:3128", 1);
  const std::vector<std::pair<const char*, std::vector<const char*>>> direct = {
      {"gateway.prod.svc",
       {"gateway.prod.svc", ".prod.svc", "prod.svc", "*.svc", "*", "x, svc ", "GATEWAY.PROD.SVC",
        "gateway.prod.svc:50051"}},
      {"10.1.2.3", {"10.1.2.3", "10.0.0.0/8", "10.1.2.3/32", "0.0.0.0/0"}},
      {"[fd00::7]", {"fd00::7", "[fd00::7]", "fd00::/8"}},
  };
  for (const auto& [host, lists] : direct) {
    for (const char* list : lists) {
      for (const char* variable : {"no_proxy", "NO_PROXY", "no_grpc_proxy"}) {
        setenv(variable, list, 1);
        EXPECT_FALSE(ProxyFor(std::string(host) + ":50051").has_value()) << host << " in " << list;
        unsetenv(variable);
      }
    }
  }
  const std::pair<const char*, const char*> through[] = {
      {"gateway", "gate"},         {"mygateway", "gateway"}, {"10.1.2.3", "11.0.0.0/8"},
      {"10.1.2.3", "10.1.2.3/99"}, {"10.1.2.3", "x/8"},      {"gateway", ",,"},
  };
  for (const auto& [host, list] : through) {
    setenv("no_proxy", list, 1);
    EXPECT_TRUE(ProxyFor(std::string(host) + ":50051").has_value()) << host << " in " << list;
  }
}

}  // namespace
}  // namespace finetune
