#include "server/access/policy_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "tests/access/policy_samples.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

const absl::Time kWritten = absl::FromUnixSeconds(1'700'000'000);

class PolicyFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              absl::StrCat("policy-", getpid(), "-",
                           ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Path() const { return folder_ / "policy.json"; }
  void Write(const std::string& text) const { std::ofstream(Path()) << text; }

  std::filesystem::path folder_;
  ManualClock clock_;
  Metrics metrics_;
  FileRereader rereader_{clock_, metrics_};
};

TEST_F(PolicyFiles, NameTheFileThatIsBad) {
  auto missing = PolicyFile::Open(Path(), nullptr, rereader_, clock_, metrics_);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("policy.json"));
}

TEST_F(PolicyFiles, AreRereadAndABadOneIsRefused) {
  Write(PolicyOf(OneCaller()));
  auto file = PolicyFile::Open(Path(), nullptr, rereader_, clock_, metrics_);
  ASSERT_TRUE(file.ok()) << file.status();
  int changes = 0;
  (*file)->OnChangeDo([&] { ++changes; });
  Write("{");
  rereader_.LookNow();
  EXPECT_TRUE((*file)->current()->FindByToken(kToken, kWritten).ok()) << "the old one stays";
  EXPECT_EQ(changes, 0);
  Write("\xef\xbb\xbf" + PolicyOf(OneCaller("", "indexer", "new-token")));
  rereader_.LookNow();
  EXPECT_TRUE((*file)->current()->FindByToken("new-token", kWritten).ok());
  EXPECT_FALSE((*file)->current()->FindByToken(kToken, kWritten).ok());
  EXPECT_EQ(changes, 1);
}

TEST_F(PolicyFiles, AreWholeWithoutKeysToFetchAndFollowedUntilTheyAreStopped) {
  Write(PolicyOf(OneCaller()));
  auto file = PolicyFile::Open(Path(), nullptr, rereader_, clock_, metrics_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE((*file)->HasAllKeys());
  const auto before = (*file)->current();
  (*file)->Stop();
  (*file)->Stop();
  Write(PolicyOf(OneCaller("", "indexer", "new-token")));
  rereader_.LookNow();
  EXPECT_EQ((*file)->current(), before);
}

TEST_F(PolicyFiles, StayAsTheyWereForWhoHoldsOne) {
  Write(PolicyOf(OneCaller()));
  auto file = PolicyFile::Open(Path(), nullptr, rereader_, clock_, metrics_);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto held = (*file)->current();
  Write(PolicyOf(OneCaller("", "indexer", "new-token")));
  rereader_.LookNow();
  EXPECT_TRUE(held->FindByToken(kToken, kWritten).ok());
  EXPECT_EQ((*file)->current()->FindByToken("new-token", kWritten)->caller->use,
            held->FindByToken(kToken, kWritten)->caller->use);
}

}  // namespace
}  // namespace finetune
