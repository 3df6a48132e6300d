#include "server/jobs/submission/submission_parts.h"

#include <gmock/gmock.h>

#include "server/base/error.h"
#include "tests/jobs/rig.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

class SubmissionPartsTest : public Rig {
 protected:
  void SetUp() override { StartProcess(); }
  std::shared_ptr<SubmissionParts> Make(Submitter::Options options = {}) {
    return std::make_shared<SubmissionParts>(options, process_->client, process_->recorder,
                                             process_->catalog, process_->tracker, clock_,
                                             process_->metrics);
  }
};

TEST_F(SubmissionPartsTest, SendsOnlyWhatThisProcessOwnsAndNothingOnceOthersTakeOver) {
  const auto parts = Make();
  EXPECT_TRUE(parts->MaySend(""));
  EXPECT_FALSE(parts->MaySend("another"));
  parts->released = true;
  EXPECT_FALSE(parts->MaySend(""));
}

TEST_F(SubmissionPartsTest, CountsWhatMadeNoJobByItsReasonAndRareOnesTogether) {
  const auto parts = Make();
  parts->NotMadeFor(pb::ErrorReason::UPSTREAM_REJECTED).Increment();
  parts->NotMadeFor(pb::ErrorReason::FINE_TUNE_NOT_FOUND).Increment();
  parts->NotMadeFor(pb::ErrorReason::REASON_UNSPECIFIED).Increment();
  const std::string text = MetricsText();
  EXPECT_THAT(text, HasSubstr("not_made_total{reason=\"UPSTREAM_REJECTED\"} 1"));
  EXPECT_THAT(text, HasSubstr("not_made_total{reason=\"other\"} 2"));
  EXPECT_THAT(text, HasSubstr("not_made_total{reason=\"OVERLOADED\"} 0"));
}

TEST_F(SubmissionPartsTest, LooksAtCreditsOnlyWhereASubmissionMustBeWithinThem) {
  const auto parts = Make({.require_credits = true});
  EXPECT_EQ(parts->CreditsLeft(), std::nullopt) << "nobody has told yet";
  process_->client.credits().Note(7, clock_.Now());
  EXPECT_EQ(parts->CreditsLeft(), 7);
  EXPECT_EQ(Make()->CreditsLeft(), std::nullopt);
}

TEST_F(SubmissionPartsTest, TellsCallersOfADrainToComeAgainSoon) {
  const absl::Status status = SubmitterDraining();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::SERVER_DRAINING);
  EXPECT_EQ(RetryDelayOf(status), absl::Seconds(1));
}

}  // namespace
}  // namespace finetune
