#include "server/segmind/rate_limiter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "server/base/error.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class RateLimit : public ::testing::Test {
 protected:
  void Limit(int calls) { limiter_ = RateLimiter::Make(calls, clock_); }
  void Acquire(const std::string& who, absl::Duration patience = absl::InfiniteDuration(),
               RateLimiter::Priority priority = RateLimiter::Priority::kInteractive) {
    limiter_->Acquire(priority, clock_.Now() + patience, [this, who](absl::Status status) {
      if (status.ok()) {
        granted_.push_back(who);
      } else {
        refused_.push_back(who);
        status_ = status;
      }
    });
  }
  void Background(const std::string& who) {
    Acquire(who, absl::InfiniteDuration(), RateLimiter::Priority::kBackground);
  }

  ManualClock clock_;
  std::shared_ptr<RateLimiter> limiter_;
  std::vector<std::string> granted_;
  std::vector<std::string> refused_;
  absl::Status status_;
};

TEST_F(RateLimit, LetsThroughWhatTheMinuteAllowsAndTheRestLater) {
  Limit(2);
  EXPECT_EQ(limiter_->calls_left(), 2);
  Acquire("a");
  clock_.Advance(absl::Seconds(30));
  Acquire("b");
  Acquire("c");
  Acquire("d");
  EXPECT_THAT(granted_, ElementsAre("a", "b"));
  EXPECT_EQ(limiter_->calls_left(), 0);
  clock_.Advance(absl::Seconds(29));
  EXPECT_THAT(granted_, ElementsAre("a", "b"));
  clock_.Advance(absl::Seconds(2));
  EXPECT_THAT(granted_, ElementsAre("a", "b", "c"));
  clock_.Advance(absl::Seconds(30));
  EXPECT_THAT(granted_, ElementsAre("a", "b", "c", "d"));
}

TEST_F(RateLimit, PutsThoseWhoWaitBeforeTheGatewaysOwnCalls) {
  Limit(1);
  Acquire("first");
  Background("list");
  Acquire("submit");
  clock_.Advance(absl::Seconds(61));
  EXPECT_THAT(granted_, ElementsAre("first", "submit"));
  clock_.Advance(absl::Seconds(61));
  EXPECT_THAT(granted_, ElementsAre("first", "submit", "list"));
}

TEST_F(RateLimit, RefusesAtOnceWhoCannotBeServedInTime) {
  Limit(1);
  Acquire("a");
  Acquire("b", absl::Seconds(10));
  EXPECT_THAT(refused_, ElementsAre("b"));
  EXPECT_EQ(ReasonOf(status_), pb::ErrorReason::UPSTREAM_RATE_LIMITED);
  EXPECT_TRUE(absl::IsResourceExhausted(status_));
  EXPECT_EQ(RetryDelayOf(status_), absl::Seconds(60.5));
  Acquire("c", absl::Seconds(70));
  Acquire("d", absl::Seconds(100));
  EXPECT_THAT(refused_, ElementsAre("b", "d"));
  EXPECT_EQ(RetryDelayOf(status_), absl::Seconds(121));
  clock_.Advance(absl::Seconds(61));
  EXPECT_THAT(granted_, ElementsAre("a", "c"));
}

TEST_F(RateLimit, TellsWhoIsOvertakenAsSoonAsItIsTooLate) {
  Limit(1);
  Acquire("a");
  Acquire("list", absl::Seconds(70), RateLimiter::Priority::kBackground);
  Acquire("submit", absl::Seconds(70));
  EXPECT_THAT(refused_, ElementsAre("list"));
  clock_.Advance(absl::Seconds(61));
  EXPECT_THAT(granted_, ElementsAre("a", "submit"));
}

TEST_F(RateLimit, MakesNoCallBeforeTheTimeThatSegmindNamed) {
  Limit(10);
  limiter_->HoldUntil(clock_.Now() + absl::Seconds(20));
  EXPECT_EQ(limiter_->calls_left(), 0);
  Acquire("patient");
  Acquire("hasty", absl::Seconds(19));
  EXPECT_THAT(refused_, ElementsAre("hasty"));
  EXPECT_THAT(granted_, IsEmpty());
  clock_.Advance(absl::Seconds(20));
  EXPECT_THAT(granted_, ElementsAre("patient"));
  EXPECT_EQ(limiter_->calls_left(), 9);
}

TEST_F(RateLimit, EndsThoseWhoWaitWhenAHoldMakesThemTooLate) {
  Limit(1);
  Acquire("a");
  Acquire("b", absl::Seconds(65));
  limiter_->HoldUntil(clock_.Now() + absl::Minutes(5));
  EXPECT_THAT(refused_, ElementsAre("b"));
}

TEST_F(RateLimit, EndsAllWithCancelledOnShutdown) {
  Limit(1);
  Acquire("a");
  Acquire("b");
  Background("c");
  limiter_->Shutdown();
  EXPECT_THAT(refused_, ElementsAre("b", "c"));
  EXPECT_TRUE(absl::IsCancelled(status_));
  Acquire("d");
  EXPECT_THAT(refused_, ElementsAre("b", "c", "d"));
  clock_.Advance(absl::Minutes(10));
  EXPECT_THAT(granted_, ElementsAre("a"));
}

TEST_F(RateLimit, MayGoBeforeItsTimers) {
  Limit(1);
  Acquire("a");
  Acquire("b");
  limiter_->Shutdown();
  limiter_ = nullptr;
  clock_.Advance(absl::Minutes(10));
}

TEST_F(RateLimit, NeverLetsThroughMoreThanTheLimitInAnyMinute) {
  std::mt19937 random(1);
  Limit(7);
  std::vector<absl::Time> times;
  size_t asked = 0;
  for (int step = 0; step < 3000; ++step) {
    clock_.Advance(absl::Milliseconds(random() % 4000));
    ++asked;
    const auto priority = static_cast<RateLimiter::Priority>(random() % 2);
    const absl::Time deadline = clock_.Now() + absl::Seconds(random() % 300);
    limiter_->Acquire(priority, deadline, [&, deadline](absl::Status status) {
      if (!status.ok()) {
        EXPECT_EQ(ReasonOf(status), pb::ErrorReason::UPSTREAM_RATE_LIMITED);
        --asked;
        return;
      }
      EXPECT_LE(clock_.Now(), deadline);
      times.push_back(clock_.Now());
    });
  }
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(times.size(), asked);
  for (size_t i = 7; i < times.size(); ++i)
    ASSERT_GT(times[i] - times[i - 7], absl::Minutes(1)) << i;
  // And no fewer than it allows.
  EXPECT_GT(times.size(), 600);
}

}  // namespace
}  // namespace finetune
