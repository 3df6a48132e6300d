#include "server/segmind/rate_limiter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <memory>
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
               RateLimiter::Priority priority = RateLimiter::Priority::kInteractive,
               std::shared_ptr<Sharer> sharer = nullptr,
               std::shared_ptr<const Cancellation> cancellation = nullptr) {
    limiter_->Acquire(priority, sharer, clock_.Now() + patience, cancellation,
                      [this, who](absl::Status status) {
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

TEST_F(RateLimit, ForgetsThoseWhoDoNotWaitAnyMore) {
  Limit(2);
  Acquire("a");
  Acquire("b");
  const auto cancellation = std::make_shared<Cancellation>();
  for (int i = 0; i < 50; ++i) {
    Acquire("gone", absl::InfiniteDuration(), RateLimiter::Priority::kInteractive, nullptr,
            cancellation);
  }
  Acquire("last");
  EXPECT_THAT(refused_, IsEmpty());
  cancellation->Cancel();
  EXPECT_EQ(refused_.size(), 50u);
  EXPECT_TRUE(absl::IsCancelled(status_));
  clock_.Advance(absl::Seconds(61));
  EXPECT_THAT(granted_, ElementsAre("a", "b", "last"));
  // Cancelled before it asks.
  Acquire("late", absl::InfiniteDuration(), RateLimiter::Priority::kInteractive, nullptr,
          cancellation);
  Acquire("late", absl::InfiniteDuration(), RateLimiter::Priority::kInteractive, nullptr,
          cancellation);
  EXPECT_THAT(granted_, ElementsAre("a", "b", "last"));
}

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

// Fifty calls a minute: ten kept for submissions, five for the gateway's own; 33 of the 45 that
// callers may use go to whoever comes first, and the rest to those who had less than six.
class FairRateLimit : public RateLimit {
 protected:
  FairRateLimit() { Limit(50); }
  // How many of `count` calls are let through at once.
  int Now(int count, std::shared_ptr<Sharer> sharer,
          RateLimiter::Priority priority = RateLimiter::Priority::kInteractive) {
    const size_t before = granted_.size();
    for (int i = 0; i < count; ++i) Acquire("", absl::Seconds(10), priority, sharer);
    return static_cast<int>(granted_.size() - before);
  }
  int Submits(int count, std::shared_ptr<Sharer> sharer) {
    return Now(count, std::move(sharer), RateLimiter::Priority::kSubmit);
  }
  int Own(int count) { return Now(count, nullptr, RateLimiter::Priority::kBackground); }

  const std::shared_ptr<Sharer> mallory_ = std::make_shared<Sharer>("mallory");
  const std::shared_ptr<Sharer> alice_ = std::make_shared<Sharer>("alice");
};

TEST_F(FairRateLimit, OneCallerLeavesRoomForOthersForSubmissionsAndForThePoll) {
  EXPECT_EQ(Now(100, mallory_), 33);
  EXPECT_EQ(Now(100, alice_), 2) << "what is left of the 35 that are no submissions'";
  EXPECT_EQ(Submits(100, alice_), 4) << "her share is six";
  EXPECT_EQ(Submits(100, std::make_shared<Sharer>("bob")), 6);
  EXPECT_EQ(Submits(100, std::make_shared<Sharer>("carol")), 0);
  EXPECT_EQ(Own(100), 5);
  EXPECT_EQ(limiter_->calls_left(), 0);
}

TEST_F(FairRateLimit, OneSubmitterLeavesRoomForOthersToo) {
  EXPECT_EQ(Submits(100, mallory_), 34 - 1);
  EXPECT_EQ(Submits(100, alice_), 6);
  EXPECT_EQ(Own(100), 11);
}

TEST_F(FairRateLimit, TheGatewaysOwnReadsLeaveRoomForSubmissions) {
  EXPECT_EQ(Own(100), 40);
  EXPECT_EQ(Now(100, alice_), 0);
  EXPECT_EQ(Submits(100, alice_), 10);
}

TEST_F(FairRateLimit, WhoeverHadTheFewestCallsIsNext) {
  EXPECT_EQ(Now(100, mallory_), 33);
  EXPECT_EQ(Now(100, std::make_shared<Sharer>("bob")), 2);
  for (int i = 0; i < 20; ++i)
    Acquire("mallory", absl::InfiniteDuration(), RateLimiter::Priority::kInteractive, mallory_);
  Acquire("alice", absl::Seconds(70), RateLimiter::Priority::kInteractive, alice_);
  granted_.clear();
  clock_.Advance(absl::Seconds(61));
  ASSERT_EQ(granted_.size(), 21u);
  EXPECT_EQ(granted_[1], "alice") << "after one of mallory's, who came before";
}

TEST_F(FairRateLimit, OneCallerHasABoundedNumberOfWaits) {
  for (int i = 0; i < 1000; ++i)
    Acquire("mallory", absl::InfiniteDuration(), RateLimiter::Priority::kInteractive, mallory_);
  EXPECT_EQ(granted_.size() + 64, 1000 - refused_.size());
  EXPECT_EQ(ReasonOf(status_), pb::ErrorReason::UPSTREAM_RATE_LIMITED);
  Acquire("alice", absl::Seconds(1), RateLimiter::Priority::kSubmit, alice_);
  EXPECT_EQ(granted_.back(), "alice");
}

TEST_F(FairRateLimit, CountsWhomItRefused) {
  Metrics metrics;
  ShareRefusals refusals("upstream_calls", metrics);
  limiter_ = RateLimiter::Make(50, clock_, &refusals);
  const auto named = std::make_shared<Sharer>("mallory", "mallory");
  EXPECT_EQ(Now(40, named), 33);
  for (const auto& family : metrics.registry()->Collect())
    for (const auto& metric : family.metric)
      EXPECT_EQ(metric.counter.value, metric.label[0].value == "mallory" ? 7 : 0);
}

// If each had to be looked at for each that waits, this would take hours.
TEST_F(RateLimit, HoweverManyWereMadeWhoeverComesIsToldAtOnce) {
  Limit(400'000);
  for (int i = 0; i < 280'000; ++i) Acquire("");
  ASSERT_EQ(granted_.size(), 280'000u);  // All that callers may have.
  const auto mallory = std::make_shared<Sharer>("mallory");
  for (int i = 0; i < 10'064; ++i)
    Acquire("", absl::InfiniteDuration(), RateLimiter::Priority::kInteractive, mallory);
  EXPECT_EQ(granted_.size(), 280'000u);
  EXPECT_EQ(refused_.size(), 10'000u);
}

TEST_F(RateLimit, NeverLetsThroughMoreThanTheLimitInAnyMinute) {
  std::mt19937 random(1);
  Limit(7);
  const std::shared_ptr<Sharer> sharers[] = {nullptr, std::make_shared<Sharer>("a"),
                                             std::make_shared<Sharer>("b"),
                                             std::make_shared<Sharer>("c")};
  std::vector<absl::Time> times;
  size_t asked = 0;
  for (int step = 0; step < 3000; ++step) {
    clock_.Advance(absl::Milliseconds(random() % 4000));
    ++asked;
    const auto priority = static_cast<RateLimiter::Priority>(random() % 3);
    const absl::Time deadline = clock_.Now() + absl::Seconds(random() % 300);
    limiter_->Acquire(priority, sharers[random() % 4], deadline, nullptr,
                      [&, deadline](absl::Status status) {
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

// What several processes share, in memory. Answers come when the test says so.
class SharedCalls {
 public:
  SharedCalls(ManualClock& clock, size_t limit) : clock_(clock), limit_(limit) {}

  // One process's way to it.
  class Budget : public CallBudget {
   public:
    explicit Budget(SharedCalls& calls) : calls_(calls) {}
    void Ask(int kind, Done done) override { asked_.emplace_back(kind, std::move(done)); }
    void HoldUntil(absl::Time time) override { calls_.hold_until_ = time; }
    void Follow(std::function<void(const Picture&)> listener) override {
      listener_ = std::move(listener);
    }

    // Answers the oldest question; false if there is none.
    bool Answer() {
      if (asked_.empty()) return false;
      auto [kind, done] = std::move(asked_.front());
      asked_.pop_front();
      if (away_)
        std::move(done)(Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
                              "the database is away"));
      else
        std::move(done)(calls_.Take(kind));
      return true;
    }
    void Show() { listener_(calls_.picture()); }
    bool follows() const { return listener_ != nullptr; }
    size_t asked() const { return asked_.size(); }
    bool away_ = false;

   private:
    SharedCalls& calls_;
    std::deque<std::pair<int, Done>> asked_;
    std::function<void(const Picture&)> listener_;
  };

  CallBudget::Picture picture() {
    while (!made_.empty() && made_.front().time <= clock_.Now() - absl::Milliseconds(60'500))
      made_.pop_front();
    return {{made_.begin(), made_.end()}, hold_until_};
  }
  const std::vector<absl::Time>& granted() const { return granted_; }

 private:
  CallBudget::Answer Take(int kind) {
    CallBudget::Answer answer{.granted = std::nullopt, .picture = picture()};
    if (made_.size() < limit_ && clock_.Now() >= hold_until_) {
      answer.granted = ++last_;
      made_.push_back({last_, clock_.Now(), kind});
      granted_.push_back(clock_.Now());
    }
    answer.picture = picture();
    return answer;
  }

  ManualClock& clock_;
  const size_t limit_;
  uint64_t last_ = 0;
  absl::Time hold_until_ = absl::InfinitePast();
  std::deque<CallBudget::Call> made_;
  std::vector<absl::Time> granted_;
};

class SharedRateLimit : public RateLimit {
 protected:
  SharedRateLimit() { limiter_ = RateLimiter::Make(10, clock_, nullptr, &here_); }
  ~SharedRateLimit() override { limiter_->Shutdown(); }
  void AnswerAll() {
    while (here_.Answer()) continue;
  }

  SharedCalls calls_{clock_, 10};
  SharedCalls::Budget here_{calls_}, there_{calls_};
};

TEST_F(SharedRateLimit, EachCallIsGrantedByWhatIsShared) {
  Acquire("a");
  EXPECT_THAT(granted_, IsEmpty());
  EXPECT_EQ(here_.asked(), 1u);
  Acquire("b");
  // One question at a time.
  EXPECT_EQ(here_.asked(), 1u);
  AnswerAll();
  EXPECT_THAT(granted_, ElementsAre("a", "b"));
  EXPECT_EQ(limiter_->calls_left(), 8);
}

TEST_F(SharedRateLimit, CallsOfOthersCountLikeItsOwn) {
  for (int i = 0; i < 6; ++i) there_.Ask(1, [](auto) {});
  while (there_.Answer()) continue;
  here_.Show();
  EXPECT_EQ(limiter_->calls_left(), 4);
  // What is kept for submissions, and for the gateway's own, is kept from all of them together.
  for (int i = 0; i < 3; ++i) Acquire(std::to_string(i));
  AnswerAll();
  EXPECT_THAT(granted_, ElementsAre("0"));
  Acquire("submit", absl::InfiniteDuration(), RateLimiter::Priority::kSubmit);
  AnswerAll();
  EXPECT_THAT(granted_, ElementsAre("0", "submit"));
}

TEST_F(SharedRateLimit, WhoeverIsTooLateWaitsForTheNext) {
  Acquire("a", absl::InfiniteDuration(), RateLimiter::Priority::kSubmit);
  for (int i = 0; i < 10; ++i) there_.Ask(0, [](auto) {});
  while (there_.Answer()) continue;
  EXPECT_TRUE(here_.Answer());
  EXPECT_THAT(granted_, IsEmpty());
  // It knows now when there is room, and does not ask all the time until then.
  clock_.Advance(absl::Seconds(30));
  EXPECT_EQ(here_.asked(), 0u);
  clock_.Advance(absl::Seconds(31));
  EXPECT_EQ(here_.asked(), 1u);
  AnswerAll();
  EXPECT_THAT(granted_, ElementsAre("a"));
}

TEST_F(SharedRateLimit, NothingIsGrantedWhileNobodyCanBeAsked) {
  here_.away_ = true;
  Acquire("a");
  Acquire("b");
  EXPECT_TRUE(here_.Answer());
  EXPECT_THAT(granted_, IsEmpty());
  EXPECT_THAT(refused_, ElementsAre("a", "b"));
  EXPECT_EQ(ReasonOf(status_), pb::ErrorReason::STORE_UNAVAILABLE);
  here_.away_ = false;
  Acquire("c");
  AnswerAll();
  EXPECT_THAT(granted_, ElementsAre("c"));
}

TEST_F(SharedRateLimit, AHoldIsForAllProcesses) {
  const auto other = RateLimiter::Make(10, clock_, nullptr, &there_);
  other->HoldUntil(clock_.Now() + absl::Seconds(20));
  Acquire("a");
  AnswerAll();
  EXPECT_THAT(granted_, IsEmpty());
  clock_.Advance(absl::Seconds(19));
  AnswerAll();
  EXPECT_THAT(granted_, IsEmpty());
  clock_.Advance(absl::Seconds(2));
  AnswerAll();
  EXPECT_THAT(granted_, ElementsAre("a"));
  other->Shutdown();
  EXPECT_FALSE(there_.follows());
}

TEST_F(SharedRateLimit, AGrantThatNobodyWaitsForAnyMoreIsTheNextOnes) {
  const auto cancellation = std::make_shared<Cancellation>();
  Acquire("gone", absl::InfiniteDuration(), RateLimiter::Priority::kInteractive, nullptr,
          cancellation);
  cancellation->Cancel();
  Acquire("next");
  AnswerAll();
  EXPECT_THAT(granted_, ElementsAre("next"));
  // A late answer finds nobody: it is lost, and nothing else is.
  Acquire("gone", absl::InfiniteDuration(), RateLimiter::Priority::kInteractive, nullptr,
          cancellation);
  AnswerAll();
  EXPECT_THAT(granted_, ElementsAre("next"));
  limiter_->Shutdown();
  Acquire("after");
  EXPECT_TRUE(absl::IsCancelled(status_));
}

TEST_F(SharedRateLimit, ThreeProcessesKeepTheLimitInAnyMinuteWhateverTheyWant) {
  std::vector<std::unique_ptr<SharedCalls::Budget>> budgets;
  std::vector<std::shared_ptr<RateLimiter>> limiters;
  for (int i = 0; i < 3; ++i) {
    budgets.push_back(std::make_unique<SharedCalls::Budget>(calls_));
    limiters.push_back(RateLimiter::Make(10, clock_, nullptr, budgets.back().get()));
  }
  std::mt19937 random(7);
  int granted = 0;
  for (int step = 0; step < 3'000; ++step) {
    auto& limiter = limiters[random() % 3];
    limiter->Acquire(static_cast<RateLimiter::Priority>(random() % 3), nullptr,
                     clock_.Now() + absl::Seconds(random() % 120), nullptr,
                     [&](absl::Status status) { granted += status.ok() ? 1 : 0; });
    if (random() % 2 == 0) budgets[random() % 3]->Answer();
    if (random() % 5 == 0) clock_.Advance(absl::Milliseconds(random() % 3'000));
  }
  for (int i = 0; i < 100; ++i) {
    clock_.Advance(absl::Seconds(3));
    for (auto& budget : budgets)
      while (budget->Answer()) continue;
  }
  const std::vector<absl::Time>& times = calls_.granted();
  for (size_t i = 10; i < times.size(); ++i)
    EXPECT_GE(times[i] - times[i - 10], absl::Milliseconds(60'500));
  // Few grants are lost, and the account's calls are used: ten in each of some twenty minutes.
  EXPECT_GT(granted, static_cast<int>(times.size()) * 9 / 10);
  const double minutes = absl::ToDoubleMinutes(times.back() - times.front());
  EXPECT_GT(static_cast<double>(times.size()), minutes * 8);
  for (auto& limiter : limiters) limiter->Shutdown();
}

}  // namespace
}  // namespace finetune
