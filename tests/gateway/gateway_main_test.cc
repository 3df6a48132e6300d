#include "server/gateway_main.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace finetune {
namespace {

using ::testing::ExitedWithCode;

// Each runs in a process of its own: the program changes signals and limits.
class GatewayMainDeathTest : public ::testing::Test {
 protected:
  GatewayMainDeathTest() {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    std::string name = testing::TempDir() + "/gateway-main-XXXXXX";
    folder_ = mkdtemp(name.data());
    std::ofstream(folder_ / "key") << "an-api-key";
    std::filesystem::permissions(folder_ / "key", std::filesystem::perms::owner_read);
  }
  ~GatewayMainDeathTest() override { std::filesystem::remove_all(folder_); }

  // Ends this process as the program would.
  [[noreturn]] static void Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "finetune-gateway");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    // What it prints is looked for on stderr.
    dup2(STDERR_FILENO, STDOUT_FILENO);
    const int code = GatewayMain(static_cast<int>(argv.size()), argv.data());
    std::fflush(stdout);
    _exit(code);
  }
  std::string Key() const { return "--api_key_file=" + (folder_ / "key").string(); }
  std::string Store() const { return "--store=sqlite:" + (folder_ / "store.db").string(); }

  std::filesystem::path folder_;
};

TEST_F(GatewayMainDeathTest, HelpAndVersionGoWell) {
  EXPECT_EXIT(Run({"--help"}), ExitedWithCode(0), "--upstream_url");
  EXPECT_EXIT(Run({"--listen=nonsense", "-h"}), ExitedWithCode(0), "--upstream_url");
  EXPECT_EXIT(Run({"--version"}), ExitedWithCode(0), "finetune-gateway " FINETUNE_VERSION);
  EXPECT_EXIT(Run({"copy-store", "--help"}), ExitedWithCode(0), "--from STORE");
}

TEST_F(GatewayMainDeathTest, TellsAnUnknownFlagFromABadValue) {
  EXPECT_EXIT(Run({"--no_such_flag"}), ExitedWithCode(2), "finetune-gateway: .*no_such_flag");
  EXPECT_EXIT(Run({"--listen=nonsense"}), ExitedWithCode(1), "finetune-gateway: .*--listen");
}

TEST_F(GatewayMainDeathTest, ACheckSaysWhatWouldStopTheStart) {
  EXPECT_EXIT(Run({"--check", Key(), Store(), "--listen=127.0.0.1:0",
                   "--webhook_listen=127.0.0.1:0", "--admin_listen=127.0.0.1:0"}),
              ExitedWithCode(0), "the configuration is good");
  EXPECT_EXIT(Run({"--check", "--api_key_file=/none", Store()}), ExitedWithCode(1),
              "--api_key_file: ");
}

TEST_F(GatewayMainDeathTest, AStartThatFailsSaysWhyInOneSentence) {
  EXPECT_EXIT(Run({"--api_key_file=/none", Store()}), ExitedWithCode(1),
              "finetune-gateway: --api_key_file: ");
}

TEST_F(GatewayMainDeathTest, MovesARecordOnlyBetweenAFileAndADatabase) {
  EXPECT_EXIT(Run({"copy-store", "--frm=x"}), ExitedWithCode(2), "copy-store takes --from STORE");
  EXPECT_EXIT(Run({"copy-store", "--from"}), ExitedWithCode(2), "copy-store takes --from STORE");
  EXPECT_EXIT(Run({"copy-store", "--from=here", "--to=there"}), ExitedWithCode(1),
              "--from must be sqlite:PATH");
  EXPECT_EXIT(Run({"copy-store", "--from", "sqlite:a", "--to", "sqlite:b"}), ExitedWithCode(1),
              "one of --from and --to must be a file");
  EXPECT_EXIT(Run({"copy-store", "--from=sqlite::memory:", "--to=postgresql://h/d"}),
              ExitedWithCode(1), "--from must be sqlite:PATH");
}

}  // namespace
}  // namespace finetune
