#include "server/readiness.h"

#include <gmock/gmock.h>

#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

class ReadinessTest : public ::testing::Test {
 protected:
  Readiness::Parts Parts(bool with_issuers = false) {
    return {
        .catalog = jobs_.catalog,
        .clock = jobs_.clock,
        .started = jobs_.clock.Now(),
        .upstream_state = [] { return std::string("DEGRADED"); },
        .has_all_keys = with_issuers ? [this] { return has_all_keys_; } : std::function<bool()>()};
  }
  void ReadSegmind() { jobs_.catalog.SetObserveTime(jobs_.clock.Now()); }

  JobsFixture jobs_;
  bool has_all_keys_ = false;
  int told_ = 0;
};

TEST_F(ReadinessTest, WaitsForAReadOfSegmindWhereTheRecordIsEmpty) {
  Readiness readiness(Parts());
  EXPECT_THAT(std::string(readiness.status().message()), HasSubstr("DEGRADED"));
  ReadSegmind();
  EXPECT_TRUE(readiness.status().ok());
}

TEST_F(ReadinessTest, IsThereAtOnceWithARecordHoweverOld) {
  ASSERT_TRUE(jobs_.Put(MakeJob("a")).ok());
  EXPECT_TRUE(Readiness(Parts()).status().ok());
}

// Jobs that come into the record later are there because Segmind was read, or because somebody
// submitted one: that says nothing of the others.
TEST_F(ReadinessTest, AJobThatWasJustSubmittedIsNoRecord) {
  Readiness readiness(Parts());
  ASSERT_TRUE(jobs_.Put(MakeJob("a")).ok());
  EXPECT_FALSE(readiness.status().ok());
}

TEST_F(ReadinessTest, WaitsForIssuersThatAreAwayForAWhile) {
  ReadSegmind();
  Readiness readiness(Parts(/*with_issuers=*/true));
  EXPECT_THAT(std::string(readiness.status().message()), HasSubstr("keys of the policy's"));
  jobs_.clock.Advance(absl::Seconds(10));
  EXPECT_TRUE(readiness.status().ok()) << "others need not do without";
  has_all_keys_ = true;
  EXPECT_TRUE(Readiness(Parts(/*with_issuers=*/true)).status().ok());
}

TEST_F(ReadinessTest, TellsOnceWhenItIsThere) {
  Readiness readiness(Parts());
  readiness.Follow([this] { ++told_; });
  jobs_.clock.Advance(absl::Seconds(5));
  EXPECT_EQ(told_, 0);
  ReadSegmind();
  jobs_.clock.Advance(absl::Seconds(1));
  EXPECT_EQ(told_, 1);
  jobs_.clock.Advance(absl::Seconds(5));
  EXPECT_EQ(told_, 1);
  EXPECT_EQ(jobs_.clock.timers(), 0u);
}

TEST_F(ReadinessTest, TellsWithinTheCallIfItIsThereAlready) {
  ReadSegmind();
  Readiness readiness(Parts());
  readiness.Follow([this] { ++told_; });
  EXPECT_EQ(told_, 1);
}

// What it calls may take any lock, its own among them.
TEST_F(ReadinessTest, TellsWithoutALock) {
  Readiness readiness(Parts());
  readiness.Follow([&] {
    ++told_;
    readiness.Stop();
  });
  ReadSegmind();
  jobs_.clock.Advance(absl::Seconds(1));
  EXPECT_EQ(told_, 1);
}

TEST_F(ReadinessTest, TellsNothingAfterItsEnd) {
  Readiness readiness(Parts());
  readiness.Follow([this] { ++told_; });
  readiness.Stop();
  readiness.Stop();
  ReadSegmind();
  jobs_.clock.Advance(absl::Minutes(1));
  EXPECT_EQ(told_, 0);
}

TEST_F(ReadinessTest, ADrainEndsIt) {
  ReadSegmind();
  Readiness readiness(Parts());
  readiness.Drain();
  EXPECT_EQ(readiness.status().message(), "draining");
}

}  // namespace
}  // namespace finetune
