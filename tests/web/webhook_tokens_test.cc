#include "server/web/webhook_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kToken[] = "0123456789abcdef012345";
constexpr char kNext[] = "A.very-odd_token~that-fits";

class WebhookTokensTest : public ::testing::Test {
 protected:
  ~WebhookTokensTest() override { std::filesystem::remove(path_); }
  void Write(const std::string& text) { std::ofstream(path_, std::ios::trunc) << text; }
  absl::StatusOr<std::unique_ptr<WebhookTokens>> Open() {
    return WebhookTokens::Open(path_, rereader_);
  }

  const std::string path_ =
      std::filesystem::temp_directory_path() /
      absl::StrCat("webhook-tokens-", getpid(), "-",
                   ::testing::UnitTest::GetInstance()->current_test_info()->name());
  ManualClock clock_;
  Metrics metrics_;
  FileRereader rereader_{clock_, metrics_};
};

TEST_F(WebhookTokensTest, AnyOfThemIsValidAsAWholeAndNothingElse) {
  Write(absl::StrCat("\n  ", kToken, " \r\n\n", kNext));
  const auto tokens = Open();
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_TRUE((*tokens)->Accepts(kToken));
  EXPECT_TRUE((*tokens)->Accepts(kNext));
  for (const std::string& text :
       {std::string(), std::string(kToken).substr(1), absl::StrCat(kToken, "0"),
        absl::StrCat(kToken, "\n", kNext), std::string(22, '0')})
    EXPECT_FALSE((*tokens)->Accepts(text)) << text;
}

TEST_F(WebhookTokensTest, WithoutAFileNoneIsValid) {
  const auto tokens = WebhookTokens::Open("", rereader_);
  ASSERT_TRUE(tokens.ok());
  EXPECT_FALSE((*tokens)->Accepts(""));
  EXPECT_FALSE((*tokens)->Accepts(kToken));
}

TEST_F(WebhookTokensTest, SaysWhatIsWrongWithTheFileAndRepeatsNoToken) {
  EXPECT_THAT(std::string(Open().status().message()), HasSubstr(path_));
  for (const char* bad : {"0123456789abcdef01234", "0123456789abcdef/0123456789",
                          "0123456789abcdef 0123456789", "0123456789abcdef%2e0123456789"}) {
    Write(absl::StrCat(kToken, "\n", bad, "\n"));
    const absl::Status status = Open().status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << bad;
    EXPECT_THAT(status.ToString(), HasSubstr(path_));
    EXPECT_THAT(status.ToString(), Not(HasSubstr("0123456789")));
  }
  for (const char* none : {"", "\n \n"}) {
    Write(none);
    EXPECT_THAT(std::string(Open().status().message()), HasSubstr("holds no token"));
  }
}

}  // namespace
}  // namespace finetune
