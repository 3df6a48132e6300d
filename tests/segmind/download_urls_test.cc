#include "server/segmind/download_urls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;

class DownloadUrlsTest : public ::testing::Test {
 protected:
  // Asks for the URL of `uri`; what comes is added to got_.
  void Get(const std::string& uri) {
    urls_->Get(
        uri, [this](DownloadUrls::Done done) { asked_.push_back(std::move(done)); },
        [this](absl::StatusOr<Secret> url) {
          got_.push_back(url.ok() ? url->Reveal() : std::string(url.status().message()));
        });
  }
  void Answer(absl::StatusOr<Secret> url) {
    DownloadUrls::Done done = std::move(asked_.front());
    asked_.erase(asked_.begin());
    std::move(done)(std::move(url));
  }

  ManualClock clock_;
  std::shared_ptr<DownloadUrls> urls_ = std::make_shared<DownloadUrls>(clock_);
  std::vector<DownloadUrls::Done> asked_;
  std::vector<std::string> got_;
};

TEST_F(DownloadUrlsTest, AreAskedForOnceAMinute) {
  Get("a");
  Answer(Secret("signed-1"));
  clock_.Advance(absl::Seconds(59));
  Get("a");
  EXPECT_THAT(got_, ElementsAre("signed-1", "signed-1"));
  EXPECT_TRUE(asked_.empty());
  clock_.Advance(absl::Seconds(1));
  Get("a");
  Get("b");
  EXPECT_EQ(asked_.size(), 2u);
  Answer(Secret("signed-2"));
  EXPECT_EQ(got_.back(), "signed-2");
}

TEST_F(DownloadUrlsTest, AreSharedByThoseWhoAskAtOnce) {
  for (int i = 0; i < 3; ++i) Get("a");
  EXPECT_EQ(asked_.size(), 1u);
  Answer(Secret("signed"));
  EXPECT_THAT(got_, ElementsAre("signed", "signed", "signed"));
}

TEST_F(DownloadUrlsTest, AFailureIsItsAskersAlone) {
  for (int i = 0; i < 3; ++i) Get("a");
  Answer(absl::ResourceExhaustedError("limit"));
  EXPECT_THAT(got_, ElementsAre("limit"));
  ASSERT_EQ(asked_.size(), 1u);
  Answer(Secret("signed"));
  EXPECT_THAT(got_, ElementsAre("limit", "signed", "signed"));
  Get("b");
  Answer(absl::ResourceExhaustedError("limit"));
  Get("b");
  EXPECT_EQ(asked_.size(), 1u);
}

TEST_F(DownloadUrlsTest, OneThatWasRefusedIsNotUsedAgain) {
  Get("a");
  Answer(Secret("signed-1"));
  urls_->Forget("a");
  urls_->Forget("none");
  Get("a");
  Answer(Secret("signed-2"));
  EXPECT_THAT(got_, ElementsAre("signed-1", "signed-2"));
}

TEST_F(DownloadUrlsTest, AreForgottenOnceTheyAreOld) {
  for (int i = 0; i < 100; ++i) {
    Get(std::to_string(i));
    Answer(Secret("signed"));
  }
  clock_.Advance(absl::Minutes(1));
  Get("a");
  EXPECT_EQ(urls_->size(), 1u);
}

}  // namespace
}  // namespace finetune
