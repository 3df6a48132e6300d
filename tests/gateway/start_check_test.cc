#include "server/start_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "server/web/listeners.h"

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class StartCheckTest : public testing::Test {
 protected:
  StartCheckTest() {
    std::string name = testing::TempDir() + "/start-check-XXXXXX";
    folder_ = mkdtemp(name.data());
    Write("key", "an-api-key");
    Write("policy", R"({"callers": [{"name": "a", "role": "ADMIN", "dns_names": ["a"]}]})");
    std::filesystem::permissions(folder_ / "key", std::filesystem::perms::owner_read);
  }
  ~StartCheckTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name) << text;
  }
  StartCheck Check(std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {
        "--listen=127.0.0.1:0", "--webhook_listen=127.0.0.1:0", "--admin_listen=127.0.0.1:0",
        absl::StrCat("--api_key_file=", (folder_ / "key").string()),
        absl::StrCat("--store=sqlite:", (folder_ / "new" / "store.db").string())};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto config = ReadConfig(arguments, {});
    EXPECT_TRUE(config.ok()) << config.status();
    return CheckStart(*config);
  }
  std::string Flag(const std::string& flag, const std::string& name) const {
    return absl::StrCat("--", flag, "=", (folder_ / name).string());
  }

  std::filesystem::path folder_;
};

TEST_F(StartCheckTest, FindsNothingWrongAndChangesNothing) {
  const StartCheck check = Check();
  EXPECT_THAT(check.errors, IsEmpty());
  EXPECT_THAT(check.warnings, IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "new"));
}

TEST_F(StartCheckTest, FindsAllThatWouldStopTheStart) {
  Write("bad-policy", "{}");
  Write("bad.db", "this is none");
  Write("tokens", "short");
  const StartCheck check =
      Check({Flag("api_key_file", "missing"), Flag("policy_file", "bad-policy"),
             Flag("webhook_token_file", "tokens"), "--tls_key_file=k",
             absl::StrCat("--store=sqlite:", (folder_ / "bad.db").string()),
             "--admin_listen=192.0.2.1:1", "--transfer_hosts=a//b"});
  EXPECT_THAT(
      check.errors,
      testing::UnorderedElementsAre(
          HasSubstr("--tls_cert_file"), HasSubstr("--api_key_file: "),
          HasSubstr("--webhook_token_file: "), HasSubstr("--transfer_hosts: "),
          AllOf(HasSubstr("--policy_file: "), HasSubstr("names no callers")),
          HasSubstr("--admin_listen: "), AllOf(HasSubstr("--store: "), HasSubstr("bad.db"))));
}

TEST_F(StartCheckTest, DoesNotMindAGatewayThatRuns) {
  const auto taken = Listeners::Open("127.0.0.1", 0);
  ASSERT_TRUE(taken.ok());
  EXPECT_THAT(Check({absl::StrCat("--listen=127.0.0.1:", taken->port())}).errors, IsEmpty());
}

TEST_F(StartCheckTest, WarnsAsTheStartDoes) {
  EXPECT_THAT(Check({Flag("policy_file", "policy")}).warnings,
              ElementsAre(HasSubstr("without --tls_client_ca_file")));
}

}  // namespace
}  // namespace finetune
