#include "server/segmind/api_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class ApiKey : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/api_key_test.XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    folder_ = pattern;
    path_ = folder_ + "/key";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& text) { std::ofstream(path_) << text; }
  // As Kubernetes does: a new file takes the old one's place.
  void Replace(const std::string& text) {
    std::ofstream(path_ + ".new") << text;
    std::filesystem::rename(path_ + ".new", path_);
  }
  std::string Key(ApiKeySource& source) {
    rereader_.LookNow();
    auto key = source.Get();
    return key.ok() ? key->Reveal() : std::string(key.status().message());
  }

  std::string folder_;
  std::string path_;
  ManualClock clock_;
  Metrics metrics_;
  FileRereader rereader_{clock_, metrics_};
};

TEST_F(ApiKey, IsReadFromItsFileWithoutSpaces) {
  Write("\xef\xbb\xbf  SG_secret\r\n");
  auto source = MakeApiKeySource(path_, rereader_);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ(Key(**source), "SG_secret");
}

TEST_F(ApiKey, IsReadAgainWhenTheFileChanges) {
  Write("first");
  auto source = MakeApiKeySource(path_, rereader_);
  ASSERT_TRUE(source.ok());
  Replace("second");
  EXPECT_EQ(Key(**source), "second");
  Write("rewritten");
  EXPECT_EQ(Key(**source), "rewritten");
}

TEST_F(ApiKey, IsAnotherAfterRereadOnlyIfTheFileSaysSo) {
  Write("first");
  auto source = MakeApiKeySource(path_, rereader_);
  ASSERT_TRUE(source.ok());
  const Secret first("first");
  EXPECT_FALSE((*source)->Reread(first));
  Replace("second");
  EXPECT_TRUE((*source)->Reread(first)) << "at once, without waiting for the next look";
  EXPECT_EQ(Key(**source), "second");
  // Another call found out first.
  EXPECT_TRUE((*source)->Reread(first));
  EXPECT_FALSE((*source)->Reread(Secret("second")));
}

TEST_F(ApiKey, StaysInUseWhileTheFileCannotBeRead) {
  Write("first");
  auto source = MakeApiKeySource(path_, rereader_);
  ASSERT_TRUE(source.ok());
  std::filesystem::remove(path_);
  EXPECT_EQ(Key(**source), "first");
  EXPECT_FALSE((*source)->Reread(Secret("first")));
  Write("");
  EXPECT_EQ(Key(**source), "first");
  Replace("second");
  EXPECT_EQ(Key(**source), "second");
}

TEST_F(ApiKey, IsMissedInOneClearSentenceThatDoesNotShowIt) {
  auto missing = MakeApiKeySource(path_, rereader_);
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr(path_));
  for (const std::string& text :
       std::vector<std::string>{"", " \n ", "two words", std::string("nul\0nul", 7), "line\nline",
                                "caf\xc3\xa9", std::string(5000, 'k')}) {
    Write(text);
    auto source = MakeApiKeySource(path_, rereader_);
    ASSERT_FALSE(source.ok()) << text;
    EXPECT_EQ(source.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(source.status().message()), Not(HasSubstr("words")));
  }
  auto folder = MakeApiKeySource(folder_, rereader_);
  EXPECT_EQ(folder.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ApiKey, ComesFromTheEnvironmentIfThereIsNoFile) {
  unsetenv("SEGMIND_API_KEY");
  EXPECT_THAT(std::string(MakeApiKeySource("", rereader_).status().message()),
              HasSubstr("SEGMIND_API_KEY"));
  setenv("SEGMIND_API_KEY", " from-env ", 1);
  auto source = MakeApiKeySource("", rereader_);
  ASSERT_TRUE(source.ok());
  EXPECT_EQ(Key(**source), "from-env");
  EXPECT_FALSE((*source)->Reread(Secret("from-env")));
  unsetenv("SEGMIND_API_KEY");
}

}  // namespace
}  // namespace finetune
