#include "server/jobs/tracking/credits_reader.h"

#include <gtest/gtest.h>

#include "tests/base/manual_clock.h"
#include "tests/base/notification.h"
#include "tests/fakes/fixed_key.h"
#include "tests/http/fake_http_client.h"

namespace finetune {
namespace {

class CreditsReaderTest : public ::testing::Test {
 protected:
  CreditsReaderTest() { Make(absl::Minutes(15)); }
  ~CreditsReaderTest() override { worker_->Stop(); }

  void Make(absl::Duration interval) {
    reader_ =
        std::make_unique<CreditsReader>(client_, clock_, interval, worker_, [this] { ++told_; });
  }
  // Runs on the tracker's thread, which takes the answers after it, and waits for those.
  void Do(const std::function<void()>& what) {
    for (const auto& step : {what, std::function<void()>([] {})}) {
      Notification done;
      worker_->Post([&] {
        step();
        done.Notify();
      });
      done.WaitForNotification();
    }
  }
  void Start() {
    Do([this] { reader_->Start(clock_.Now()); });
  }

  ManualClock clock_;
  FakeHttpClient http_;
  FixedKey key_;
  Metrics metrics_;
  SegmindClient client_{{.url = "http://segmind.test"}, http_, key_, clock_, metrics_};
  std::shared_ptr<Worker> worker_ = std::make_shared<Worker>("tracker");
  std::unique_ptr<CreditsReader> reader_;
  int told_ = 0;
};

TEST_F(CreditsReaderTest, AsksOnceBegunAndThenNowAndThen) {
  Start();
  EXPECT_EQ(http_.requests.size(), 0u);
  Do([this] { reader_->Begin(clock_.Now()); });
  http_.Script(200, R"({"credits": 10, "free-credits": 2.5})");
  Start();
  ASSERT_EQ(http_.requests.size(), 1u);
  EXPECT_EQ(http_.requests[0].method, "GET");
  EXPECT_EQ(http_.requests[0].url, "http://segmind.test/v1/get-user-credits");
  EXPECT_EQ(told_, 1);
  EXPECT_EQ(client_.credits().At(clock_.Now())->micros, 12'500'000);
  // One more list begins nothing anew.
  Do([this] { reader_->Begin(clock_.Now()); });
  Start();
  EXPECT_EQ(http_.requests.size(), 1u);
  EXPECT_EQ(reader_->NextStart(), clock_.Now() + absl::Minutes(15));
  clock_.Advance(absl::Minutes(15));
  Start();
  EXPECT_EQ(http_.requests.size(), 2u);
  // It is open: no second one.
  clock_.Advance(absl::Seconds(20));
  Start();
  EXPECT_EQ(http_.requests.size(), 2u);
  EXPECT_EQ(reader_->NextStart(), absl::InfiniteFuture());
  http_.Shutdown();
}

TEST_F(CreditsReaderTest, WhatCannotBeReadIsAskedForNoSooner) {
  Do([this] { reader_->Begin(clock_.Now()); });
  http_.Script(404, R"({"error": "no such page"})");
  Start();
  EXPECT_EQ(told_, 0);
  EXPECT_EQ(client_.credits().At(clock_.Now()), std::nullopt);
  EXPECT_EQ(client_.state(), pb::GatewayStatus::HEALTHY);
  EXPECT_EQ(reader_->NextStart(), clock_.Now() + absl::Minutes(15));
}

TEST_F(CreditsReaderTest, NeverAsksWithoutAnInterval) {
  Make(absl::ZeroDuration());
  Do([this] { reader_->Begin(clock_.Now()); });
  Start();
  EXPECT_EQ(http_.requests.size(), 0u);
}

}  // namespace
}  // namespace finetune
