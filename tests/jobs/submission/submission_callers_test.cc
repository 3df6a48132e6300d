#include "server/jobs/submission/submission_callers.h"

#include <map>

#include "gtest/gtest.h"
#include "tests/base/manual_clock.h"

namespace finetune {
namespace {

class SubmissionCallersTest : public ::testing::Test {
 protected:
  void Add(const std::string& name, absl::Duration patience) {
    callers_.Add(clock_.Now() + patience, [this, name](absl::StatusOr<VersionPtr> result) {
      answers_.emplace(name, result.status());
    });
  }

  ManualClock clock_;
  std::vector<uint64_t> alarms_;
  SubmissionCallers callers_{clock_, [this](uint64_t caller) { alarms_.push_back(caller); }};
  std::map<std::string, absl::Status> answers_;
};

TEST_F(SubmissionCallersTest, AreToBeAnsweredShortlyBeforeTheirDeadlines) {
  Add("a", absl::Seconds(10));
  Add("b", absl::Seconds(20));
  clock_.Advance(absl::Seconds(9));
  EXPECT_TRUE(alarms_.empty());
  clock_.Advance(absl::Seconds(1));
  ASSERT_EQ(alarms_.size(), 1u);
  EXPECT_TRUE(answers_.empty()) << "what to say is not theirs to know";
  callers_.Answer(alarms_[0], absl::UnknownError("late"));
  EXPECT_EQ(answers_.count("a"), 1u);
  EXPECT_FALSE(callers_.Has(alarms_[0]));
  EXPECT_FALSE(callers_.empty());
}

TEST_F(SubmissionCallersTest, LetNothingBeSentOnceNoneOfThemCouldHearOfIt) {
  const absl::Time now = clock_.Now();
  EXPECT_EQ(callers_.StartBy(), absl::InfinitePast());
  Add("a", absl::Seconds(10));
  EXPECT_LT(callers_.StartBy(), now + absl::Seconds(10));
  Add("b", absl::Seconds(20));
  EXPECT_GT(callers_.StartBy(), now + absl::Seconds(10));
  Add("c", absl::InfiniteDuration());
  EXPECT_EQ(callers_.StartBy(), absl::InfiniteFuture());
}

TEST_F(SubmissionCallersTest, HurryWhateverTheirDeadlines) {
  Add("patient", absl::Minutes(10));
  Add("for ever", absl::InfiniteDuration());
  Add("soon", absl::Seconds(1));
  callers_.Hurry(clock_.Now() + absl::Seconds(2));
  EXPECT_EQ(callers_.StartBy(), clock_.Now() + absl::Seconds(2));
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(alarms_.size(), 3u);
}

TEST_F(SubmissionCallersTest, AnAnsweredOneHasNoAlarm) {
  Add("a", absl::Seconds(10));
  callers_.AnswerAll(absl::UnknownError("over"));
  EXPECT_EQ(answers_.size(), 1u);
  clock_.Advance(absl::Minutes(1));
  EXPECT_TRUE(alarms_.empty());
}

}  // namespace
}  // namespace finetune
