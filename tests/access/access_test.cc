#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "server/access/authenticator.h"
#include "server/access/server_credentials.h"

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

TEST(ServerCredentials, NameTheFileThatCannotBeRead) {
  auto made = MakeServerCredentials({.cert = "/nowhere/cert.pem", .key = "/nowhere/key.pem"});
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(std::string(made.status().message()), HasSubstr("/nowhere/cert.pem"));
}

TEST(ServerCredentials, RefuseAFileWithoutACertificate) {
  const auto path = std::filesystem::temp_directory_path() / "not-a-certificate.pem";
  std::ofstream(path) << "hello";
  auto made = MakeServerCredentials({.cert = path, .key = path});
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(std::string(made.status().message()), HasSubstr("no PEM certificate"));
}

TEST(ServerCredentials, NeedTheKeyBesideTheCertificate) {
  EXPECT_FALSE(MakeServerCredentials({.cert = "cert.pem"}).ok());
  EXPECT_FALSE(MakeServerCredentials({.key = "key.pem"}).ok());
  EXPECT_TRUE(MakeServerCredentials({}).ok());
}

TEST(OpenAuthenticator, LetsEveryoneDoEverything) {
  grpc::CallbackServerContext context;
  auto caller = MakeOpenAuthenticator()->Authenticate(context, absl::InfinitePast());
  ASSERT_TRUE(caller.ok());
  EXPECT_EQ(caller->caller->identity, "");
  EXPECT_EQ(caller->caller->role, Role::kAdmin);
  EXPECT_TRUE(caller->caller->sees_all);
}

}  // namespace
}  // namespace finetune
