#include "server/base/fair_share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <thread>
#include <vector>

#include "server/base/error.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class FairShareTest : public ::testing::Test {
 protected:
  // Takes one for as long as the test runs; the reason of a refusal.
  std::string Take(Sharer& sharer, int64_t amount = 1, std::optional<int64_t> own = {}) {
    auto slot = share_.Take(sharer, amount, own);
    if (!slot.ok()) {
      EXPECT_TRUE(absl::IsResourceExhausted(slot.status()));
      EXPECT_EQ(RetryDelayOf(slot.status()), absl::Seconds(5));
      return pb::ErrorReason::Reason_Name(ReasonOf(slot.status()));
    }
    slots_.push_back(*std::move(slot));
    return "";
  }
  int TakeAll(Sharer& sharer) {
    int taken = 0;
    while (Take(sharer).empty()) ++taken;
    return taken;
  }
  std::string Series() {
    return prometheus::TextSerializer().Serialize(metrics_.registry()->Collect());
  }

  Metrics metrics_;
  FairShare share_{Share::kWaits,
                   {.total = 100, .reserve = 40, .each = 10, .retry_after = absl::Seconds(5)},
                   metrics_};
  Sharer greedy_{"greedy", "greedy"};
  Sharer modest_{"modest", "modest"};
  std::vector<FairShare::Slot> slots_;
};

TEST_F(FairShareTest, GivesALoneSharerAllButTheReserve) {
  EXPECT_EQ(TakeAll(greedy_), 60);
  EXPECT_EQ(greedy_.held(Share::kWaits), 60);
  EXPECT_EQ(Take(greedy_), "CLIENT_QUOTA_EXCEEDED");
}

TEST_F(FairShareTest, KeepsTheReserveForThoseWhoHoldLessThanTheirShare) {
  TakeAll(greedy_);
  EXPECT_EQ(TakeAll(modest_), 10);
  std::vector<std::unique_ptr<Sharer>> more;
  int given = 0;
  for (int i = 0; i < 5; ++i) {
    more.push_back(std::make_unique<Sharer>("more"));
    given += TakeAll(*more.back());
  }
  EXPECT_EQ(given, 30);
  EXPECT_EQ(share_.used(), 100);
  EXPECT_EQ(Take(*more.back()), "OVERLOADED");
  slots_.clear();  // Before those whose they are.
}

TEST_F(FairShareTest, TakesBackWhatIsReleased) {
  TakeAll(greedy_);
  slots_.resize(50);
  EXPECT_EQ(greedy_.held(Share::kWaits), 50);
  EXPECT_EQ(TakeAll(greedy_), 10);
  FairShare::Slot moved = std::move(slots_.front());
  slots_.clear();
  EXPECT_EQ(share_.used(), 1);
  moved.Release();
  moved.Release();
  EXPECT_EQ(share_.used(), 0);
}

TEST_F(FairShareTest, ALimitOfItsOwnReplacesTheShare) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Take(modest_, 1, 3), "");
  EXPECT_EQ(Take(modest_, 1, 3), "CLIENT_QUOTA_EXCEEDED");
  EXPECT_EQ(Take(modest_, 1, 0), "CLIENT_QUOTA_EXCEEDED");
  TakeAll(greedy_);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Take(modest_, 1, 23), "");
}

TEST_F(FairShareTest, APieceLargerThanAShareIsGivenToWhoeverHoldsNothing) {
  EXPECT_EQ(Take(greedy_, 70), "");
  EXPECT_EQ(Take(modest_, 30), "");
  slots_.clear();
  EXPECT_EQ(Take(modest_, 500), "");
  EXPECT_EQ(Take(greedy_), "OVERLOADED");
}

TEST_F(FairShareTest, CountsRefusalsByWhomTheyMet) {
  EXPECT_THAT(Series(), HasSubstr(R"(refusals_total{caller="other",share="waits"} 0)"));
  EXPECT_EQ(Take(modest_), "");
  TakeAll(greedy_);
  EXPECT_THAT(Series(), HasSubstr(R"(refusals_total{caller="modest",share="waits"} 0)"));
  EXPECT_THAT(Series(), HasSubstr(R"(refusals_total{caller="greedy",share="waits"} 1)"));
}

TEST_F(FairShareTest, HasABoundedNumberOfSeries) {
  for (int i = 0; i < 150; ++i) {
    const std::string name = "caller-" + std::to_string(i);
    Sharer sharer(name, name);
    EXPECT_EQ(Take(sharer, 1, 0), "CLIENT_QUOTA_EXCEEDED");
  }
  EXPECT_THAT(Series(), HasSubstr(R"(caller="caller-98")"));
  EXPECT_THAT(Series(), Not(HasSubstr(R"(caller="caller-99")")));
  EXPECT_THAT(Series(), HasSubstr(R"(refusals_total{caller="other",share="waits"} 51)"));
}

TEST_F(FairShareTest, NeverGivesMoreThanThereIsToManyThreads) {
  std::atomic<int64_t> most = 0, given = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Sharer mine("t" + std::to_string(t));
      for (int i = 0; i < 2000; ++i) {
        auto slot = share_.Take(mine, 1 + i % 40);
        if (!slot.ok()) continue;
        const int64_t now = given += 1 + i % 40;
        for (int64_t seen = most; now > seen && !most.compare_exchange_weak(seen, now);) continue;
        given -= 1 + i % 40;
      }
      EXPECT_EQ(mine.held(Share::kWaits), 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 100);
  EXPECT_GT(most, 0);
  EXPECT_EQ(share_.used(), 0);
}

}  // namespace
}  // namespace finetune
