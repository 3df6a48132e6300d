#include "server/jobs/tracking/missing_jobs.h"

#include <set>

#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

using pb::FineTune;

const absl::Time kMissed = absl::FromUnixSeconds(1'000'000);

class MissingJobsTest : public ::testing::Test {
 protected:
  // Jobs in the record; Segmind calls them up-ID.
  void Make(const std::string& id, FineTune::State state = FineTune::TRAINING) {
    ASSERT_TRUE(jobs_.Put(MakeJob(id, state)).ok());
    shown_.insert("up-" + id);
  }
  void Hide(const std::string& id) {
    if (shown_.erase("up-" + id) > 0) gone_.push_back("up-" + id);
  }
  RollCall List(const std::string& more = "") {
    now_ += absl::Seconds(10);
    RollCall list{.start_time = now_,
                  .total = shown_.size() + strangers_,
                  .more = more,
                  .all_new = std::exchange(first_, false),
                  .gone = std::exchange(gone_, {}),
                  .has = [this](std::string_view id) { return shown_.contains(std::string(id)); }};
    return list;
  }
  void Read(const std::string& more = "") { missing_.Note(List(more), false); }

  JobsFixture jobs_;
  MissingJobs missing_{jobs_.catalog};
  std::set<std::string> shown_;
  std::vector<std::string> gone_;
  size_t strangers_ = 3;
  bool first_ = true;
  absl::Time now_ = kMissed;
};

TEST_F(MissingJobsTest, AWholeListProvesAbsence) {
  Make("a");
  missing_.Begin();
  EXPECT_EQ(missing_.DoubtOf(List()), "");
  Read();
  EXPECT_EQ(missing_.DoubtOf(List()), "");
  EXPECT_EQ(missing_.partial(), "");
}

TEST_F(MissingJobsTest, AListThatSaysThatMoreFollowsProvesNothing) {
  Make("a");
  missing_.Begin();
  EXPECT_NE(missing_.DoubtOf(List("has_more")), "");
  Read("has_more");
  EXPECT_EQ(missing_.partial(), "has_more");
  Read();
  EXPECT_EQ(missing_.partial(), "");
}

TEST_F(MissingJobsTest, AListThatLacksAJobWhichGoesOnProvesNothing) {
  Make("a");
  Make("b");
  missing_.Begin();
  Read();
  Hide("b");
  EXPECT_NE(missing_.DoubtOf(List()), "");
}

TEST_F(MissingJobsTest, AListThatLacksAnEndedJobDoesUnlessDetailsShowIt) {
  Make("a");
  Make("b", FineTune::AVAILABLE);
  missing_.Begin();
  Read();
  Hide("b");
  const RollCall list = List();
  EXPECT_EQ(missing_.DoubtOf(list), "") << "it may have been deleted";
  missing_.Note(list, false);
  Read();
  EXPECT_EQ(missing_.TakeDue(now_), std::vector<std::string>{"up-b"});
  missing_.OnFound("up-b", now_);
  EXPECT_NE(missing_.DoubtOf(List()), "");
  Read();
  EXPECT_NE(missing_.partial(), "");
}

TEST_F(MissingJobsTest, AListThatLostHalfOfItsJobsOrCannotBeReadProvesNothing) {
  for (int i = 0; i < 20; ++i) Make(std::to_string(i), FineTune::AVAILABLE);
  missing_.Begin();
  Read();
  RollCall unreadable = List();
  unreadable.nameless = 1;
  EXPECT_NE(missing_.DoubtOf(unreadable), "");
  missing_.Note(unreadable, false);
  EXPECT_EQ(missing_.DoubtOf(unreadable), "") << "it has always been so";
  for (int i = 0; i < 15; ++i) Hide(std::to_string(i));
  EXPECT_NE(missing_.DoubtOf(List()), "");
}

// As after a restart, when nothing is known of how lists usually are.
TEST_F(MissingJobsTest, WhatCannotBeReadInTheFirstListMayBeWhatIsLookedFor) {
  Make("a");
  missing_.Begin();
  for (int i = 0; i < 4; ++i) {
    RollCall list = List();
    list.nameless = 1;
    EXPECT_NE(missing_.DoubtOf(list), "") << i;
    missing_.Note(list, /*looked_for=*/true);
  }
}

TEST_F(MissingJobsTest, ACopyFromBeforeItWasAskedForProvesNothing) {
  missing_.Begin();
  RollCall copy = List();
  copy.asked = copy.start_time + absl::Seconds(1);
  EXPECT_NE(missing_.DoubtOf(copy), "");
  copy.asked = copy.start_time;
  EXPECT_EQ(missing_.DoubtOf(copy), "");
}

TEST_F(MissingJobsTest, AListOfAPagesLengthMayBeAPage) {
  strangers_ = 50;
  missing_.Begin();
  EXPECT_NE(missing_.DoubtOf(List()), "");
  strangers_ = 51;
  Read();
  strangers_ = 50;
  EXPECT_EQ(missing_.DoubtOf(List()), "") << "it has been longer";
}

TEST_F(MissingJobsTest, AsksForJobsThatGoOnFirstAndForEndedOnesNowAndThen) {
  Make("a");
  Make("b", FineTune::AVAILABLE);
  missing_.Begin();
  Read();
  Hide("a");
  Hide("b");
  Read();
  EXPECT_EQ(missing_.TakeDue(now_), std::vector<std::string>{"up-a"});
  Read();
  EXPECT_EQ(missing_.TakeDue(now_), (std::vector<std::string>{"up-a", "up-b"}));
  missing_.OnFound("up-a", now_);
  missing_.OnFound("up-b", now_);
  Read();
  EXPECT_EQ(missing_.TakeDue(now_), (std::vector<std::string>{"up-a", "up-b"}));
  Read();
  EXPECT_EQ(missing_.TakeDue(now_), std::vector<std::string>{"up-a"});
  now_ += absl::Hours(2);
  EXPECT_EQ(missing_.TakeDue(now_), (std::vector<std::string>{"up-a", "up-b"}));
}

TEST_F(MissingJobsTest, AJobIsGoneOnceListsAndDetailsLackItAndItIsNotYoung) {
  Make("a");
  missing_.Begin();
  Read();
  EXPECT_FALSE(missing_.OnUnknown("up-a", now_, absl::ZeroDuration())) << "lists show it";
  Hide("a");
  Read();
  EXPECT_FALSE(missing_.OnUnknown("up-a", now_, absl::ZeroDuration())) << "one list may err";
  Read();
  EXPECT_FALSE(missing_.OnUnknown("up-a", now_, absl::Minutes(1)));
  EXPECT_TRUE(missing_.OnUnknown("up-a", now_ + absl::Minutes(2), absl::Minutes(1)));
  EXPECT_FALSE(missing_.Has("up-a"));
}

TEST_F(MissingJobsTest, KnowsWhenEachJobWasShownLast) {
  Make("a");
  Make("never");
  missing_.Begin();
  Hide("never");
  gone_.clear();
  Read();
  const absl::Time shown = now_;
  Hide("a");
  Read();
  EXPECT_EQ(missing_.not_shown().at("a"), shown);
  EXPECT_EQ(missing_.not_shown().at("never"), absl::InfinitePast());
  missing_.OnFound("up-a", now_ + absl::Seconds(1));
  EXPECT_EQ(missing_.not_shown().at("a"), now_ + absl::Seconds(1));
  shown_.insert("up-a");
  Read();
  EXPECT_FALSE(missing_.not_shown().contains("a"));
}

}  // namespace
}  // namespace finetune
