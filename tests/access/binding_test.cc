#include "server/access/binding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace finetune {
namespace {

using ::testing::HasSubstr;

TEST(Binding, LoopbackNeedsNothing) {
  for (const char* host : {"127.0.0.1", "127.1.2.3", "localhost", "[::1]", "::1"})
    EXPECT_TRUE(CheckBinding(host, {}, false, false).ok()) << host;
}

TEST(Binding, OtherAddressesNeedToBeAskedFor) {
  for (const char* host : {"0.0.0.0", "[::]", "10.0.0.1", "example.com", "localhost.evil.com"}) {
    const absl::Status status = CheckBinding(host, {}, true, false);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << host;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--allow_insecure"));
    EXPECT_TRUE(CheckBinding(host, {}, false, true).ok());
  }
}

TEST(Binding, TlsAndAPolicyOpenOtherAddresses) {
  const TlsFiles tls = {.cert = "c", .key = "k", .client_ca = ""};
  const TlsFiles mutual = {.cert = "c", .key = "k", .client_ca = "a"};
  EXPECT_TRUE(CheckBinding("0.0.0.0", tls, true, false).ok());
  EXPECT_TRUE(CheckBinding("0.0.0.0", mutual, true, false).ok());
  EXPECT_FALSE(CheckBinding("0.0.0.0", tls, false, false).ok());
  EXPECT_FALSE(CheckBinding("0.0.0.0", mutual, false, false).ok());
}

}  // namespace
}  // namespace finetune
