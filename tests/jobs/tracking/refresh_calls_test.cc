#include "server/jobs/tracking/refresh_calls.h"

#include "server/base/error.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

const absl::Time kAsked = absl::FromUnixSeconds(1'000'000);

class RefreshCallsTest : public ::testing::Test {
 protected:
  RefreshCallsTest() {
    EXPECT_TRUE(jobs_.Put(MakeJob("a")).ok());
    EXPECT_TRUE(jobs_.Put(MakeJob("b")).ok());
  }
  void Wait(const std::string& name, const std::string& id, absl::Time not_before,
            absl::Time deadline = absl::InfiniteFuture()) {
    calls_.Add(id, not_before, deadline,
               [this, name](absl::Status status) { ended_.emplace(name, std::move(status)); });
  }

  JobsFixture jobs_;
  RefreshCalls calls_{jobs_.catalog};
  std::map<std::string, absl::Status> ended_;
};

TEST_F(RefreshCallsTest, EndOnceAListIsNewEnough) {
  Wait("early", "", kAsked);
  Wait("late", "", kAsked + absl::Seconds(5));
  jobs_.catalog.SetObserveTime(kAsked + absl::Seconds(1));
  calls_.FinishServed();
  ASSERT_EQ(ended_.size(), 1u);
  EXPECT_TRUE(ended_.at("early").ok());
  EXPECT_TRUE(calls_.WaitsForAll());
}

TEST_F(RefreshCallsTest, AJobThatListsDoNotShowIsAsFreshAsItsOwnRead) {
  Wait("all", "", kAsked);
  Wait("a", "a", kAsked);
  Wait("b", "b", kAsked);
  jobs_.catalog.SetObserveTime(kAsked, {{"a", kAsked - absl::Hours(1)}});
  calls_.FinishServed();
  ASSERT_EQ(ended_.size(), 1u);
  EXPECT_TRUE(ended_.at("b").ok());
  EXPECT_EQ(calls_.ids(), std::vector<std::string>{"a"});
  jobs_.catalog.SetObserveTimeOf("a", kAsked);
  calls_.FinishServed();
  EXPECT_EQ(ended_.size(), 3u);
}

TEST_F(RefreshCallsTest, EndAtTheirDeadlineOrWithTheReadsError) {
  Wait("short", "", kAsked, kAsked + absl::Seconds(1));
  Wait("early", "", kAsked, kAsked + absl::Minutes(1));
  Wait("late", "", kAsked + absl::Seconds(5), kAsked + absl::Minutes(1));
  EXPECT_EQ(calls_.NextDeadline(), kAsked + absl::Seconds(1));
  calls_.Expire(kAsked + absl::Seconds(1));
  EXPECT_TRUE(absl::IsDeadlineExceeded(ended_.at("short")));
  calls_.Fail(kAsked, absl::UnavailableError("down"));
  EXPECT_TRUE(absl::IsUnavailable(ended_.at("early")));
  EXPECT_FALSE(ended_.contains("late")) << "that read was too early for it";
  calls_.EndAll(absl::CancelledError("stopped"));
  EXPECT_TRUE(absl::IsCancelled(ended_.at("late")));
}

}  // namespace
}  // namespace finetune
