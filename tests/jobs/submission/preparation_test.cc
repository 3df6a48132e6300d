#include "server/jobs/submission/preparation.h"

#include "server/base/error.h"
#include "server/jobs/record/marker.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

// Mutations that begin submissions, without anybody who sends them.
class PreparationTest : public ::testing::Test {
 protected:
  static record::Intent Wanted(const std::string& request_id = "r", const std::string& id = "new") {
    record::Intent intent;
    intent.set_caller("alice");
    intent.set_request_id(request_id);
    intent.set_fine_tune_id(id);
    intent.set_fingerprint("of cats");
    intent.set_state(record::Intent::PREPARED);
    intent.mutable_fine_tune()->set_display_name("cats");
    intent.mutable_fine_tune()->set_base_model("FLUX");
    return intent;
  }
  Preparation Of(record::Intent intent) {
    return {.intent = std::move(intent),
            .limits = {},
            .spender = nullptr,
            .markers = true,
            .membership = jobs_.recorder->membership(),
            .credits_left = std::nullopt,
            .prepared = prepared_};
  }
  absl::Status Run(Preparation preparation) { return jobs_.Run(std::move(preparation)); }
  absl::Status Put(record::Intent intent) {
    return jobs_.Run([&](Draft& draft) {
      draft.PutIntent(std::move(intent));
      return absl::OkStatus();
    });
  }
  std::optional<record::Intent> Recorded(const std::string& request_id = "r") {
    std::optional<record::Intent> found;
    EXPECT_TRUE(jobs_
                    .Run([&](Draft& draft) {
                      found = *draft.FindIntent("alice", request_id);
                      return absl::OkStatus();
                    })
                    .ok());
    return found;
  }
  // Whose jobs cost five credits each.
  static std::shared_ptr<Spender> SpenderWith(int64_t micros_a_month) {
    Budget budget{.name = "art-month",
                  .period = PeriodKind::kMonth,
                  .zone = absl::UTCTimeZone(),
                  .money = true,
                  .limit = micros_a_month};
    auto rules = std::make_shared<SpendingRules>();
    rules->unit = "credits";
    rules->prices = {{.base_model = "FLUX", .base_micros = 5'000'000}};
    rules->budgets = {std::move(budget)};
    auto spender = std::make_shared<Spender>();
    spender->team = "art";
    spender->rules = std::move(rules);
    return spender;
  }

  JobsFixture jobs_;
  std::shared_ptr<Prepared> prepared_ = std::make_shared<Prepared>();
};

TEST_F(PreparationTest, PutsWhatIsAboutToBeSentUnderAMarker) {
  ASSERT_TRUE(Run(Of(Wanted())).ok());
  EXPECT_TRUE(prepared_->is_own);
  EXPECT_NE(prepared_->intent.marker(), "");
  const auto recorded = Recorded();
  ASSERT_TRUE(recorded);
  EXPECT_EQ(recorded->state(), record::Intent::PREPARED);
  EXPECT_EQ(recorded->marker(), prepared_->intent.marker());
  EXPECT_EQ(recorded->fine_tune_id(), "new");
  EXPECT_TRUE(recorded->has_create_time());
}

TEST_F(PreparationTest, MarkersCanBeSwitchedOff) {
  Preparation preparation = Of(Wanted());
  preparation.markers = false;
  ASSERT_TRUE(Run(std::move(preparation)).ok());
  EXPECT_TRUE(prepared_->is_own);
  EXPECT_EQ(Recorded()->marker(), "");
}

TEST_F(PreparationTest, ARepeatFindsWhatCameBeforeAndPutsNothing) {
  record::Intent earlier = Wanted("r", "old");
  earlier.set_state(record::Intent::ACCEPTED);
  ASSERT_TRUE(Put(earlier).ok());
  ASSERT_TRUE(Run(Of(Wanted())).ok());
  EXPECT_FALSE(prepared_->is_own);
  EXPECT_EQ(prepared_->intent.fine_tune_id(), "old");
  EXPECT_EQ(Recorded()->fine_tune_id(), "old");
}

TEST_F(PreparationTest, OtherParametersUnderTheSameRequestIdAreRefused) {
  ASSERT_TRUE(Run(Of(Wanted())).ok());
  record::Intent other = Wanted();
  other.set_fingerprint("of dogs");
  EXPECT_EQ(ReasonOf(Run(Of(other))), pb::ErrorReason::REQUEST_ID_REUSED);
  EXPECT_EQ(Recorded()->fingerprint(), "of cats");
}

// A commit whose failure was reported came through.
TEST_F(PreparationTest, WhatThisProcessPreparedBeforeIsStillItsOwnToSend) {
  ASSERT_TRUE(Run(Of(Wanted())).ok());
  *prepared_ = Prepared();
  ASSERT_TRUE(Run(Of(Wanted("r", "again"))).ok());
  EXPECT_TRUE(prepared_->is_own);
  EXPECT_EQ(prepared_->intent.fine_tune_id(), "new");
}

TEST_F(PreparationTest, WhatAnotherProcessPreparedIsNot) {
  record::Intent others = Wanted("r", "theirs");
  others.set_owner("another");
  ASSERT_TRUE(Put(others).ok());
  ASSERT_TRUE(Run(Of(Wanted())).ok());
  EXPECT_FALSE(prepared_->is_own);
  EXPECT_EQ(prepared_->intent.owner(), "another");
}

TEST_F(PreparationTest, AnAttemptThatMadeNoJobIsFollowedByOneUnderAnotherMarker) {
  ASSERT_TRUE(Run(Of(Wanted())).ok());
  record::Intent failed = prepared_->intent;
  failed.set_state(record::Intent::NOT_SUBMITTED);
  ASSERT_TRUE(Put(failed).ok());
  ASSERT_TRUE(Run(Of(Wanted("r", "second"))).ok());
  EXPECT_TRUE(prepared_->is_own);
  EXPECT_EQ(prepared_->intent.fine_tune_id(), "second");
  EXPECT_EQ(prepared_->intent.attempt(), failed.attempt() + 1);
  EXPECT_NE(prepared_->intent.marker(), failed.marker());
}

// The record lost the submission, and Segmind shows its job.
TEST_F(PreparationTest, AJobUnderOneOfItsMarkersIsTakenForItsOwnAndNothingIsSent) {
  std::string key;
  ASSERT_TRUE(jobs_
                  .Run([&](Draft& draft) {
                    key = draft.marker_key();
                    return absl::OkStatus();
                  })
                  .ok());
  record::FineTuneRecord seen = MakeJob("seen");
  seen.mutable_fine_tune()->set_base_model("FLUX");
  seen.set_marker(MakeMarker(key, "alice", "r", 1));
  ASSERT_TRUE(jobs_.Put(seen).ok());
  ASSERT_TRUE(Run(Of(Wanted())).ok());
  EXPECT_FALSE(prepared_->is_own);
  EXPECT_EQ(prepared_->intent.fine_tune_id(), "seen");
  EXPECT_EQ(prepared_->intent.state(), record::Intent::ACCEPTED);
  EXPECT_EQ(jobs_.catalog.view()->size(), 1u);
  EXPECT_EQ(jobs_.catalog.Find("seen")->creator, "alice");
}

TEST_F(PreparationTest, TheCallersLimitsRefuseANewOneAndNoRepeat) {
  Preparation first = Of(Wanted());
  first.limits.creates_per_day = 1;
  ASSERT_TRUE(Run(std::move(first)).ok());
  Preparation repeat = Of(Wanted());
  repeat.limits.creates_per_day = 1;
  EXPECT_TRUE(Run(std::move(repeat)).ok());
  Preparation second = Of(Wanted("s"));
  second.limits.creates_per_day = 1;
  EXPECT_EQ(ReasonOf(Run(std::move(second))), pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
  EXPECT_FALSE(Recorded("s"));
}

TEST_F(PreparationTest, ABudgetWithoutRoomRefusesAndIsNamed) {
  const auto spender = SpenderWith(9'000'000);
  Preparation first = Of(Wanted());
  first.spender = spender;
  ASSERT_TRUE(Run(std::move(first)).ok());
  EXPECT_EQ(prepared_->intent.charge().micros(), 5'000'000);
  EXPECT_EQ(prepared_->intent.charge().team(), "art");
  EXPECT_EQ(prepared_->verdict.refused_by, "");
  Preparation second = Of(Wanted("s"));
  second.spender = spender;
  const absl::Status refused = Run(std::move(second));
  EXPECT_EQ(ReasonOf(refused), pb::ErrorReason::CLIENT_QUOTA_EXCEEDED);
  EXPECT_EQ(prepared_->verdict.refused_by, "art-month");
  EXPECT_FALSE(Recorded("s"));
}

TEST_F(PreparationTest, AnAccountThatCannotPayRefuses) {
  Preparation preparation = Of(Wanted());
  preparation.spender = SpenderWith(100'000'000);
  preparation.credits_left = 4'999'999;
  const absl::Status refused = Run(std::move(preparation));
  EXPECT_EQ(ReasonOf(refused), pb::ErrorReason::UPSTREAM_CREDITS_EXHAUSTED);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("nothing was sent"));
  EXPECT_FALSE(Recorded());
}

TEST_F(PreparationTest, SaysAnewWithEachRunWhatItFound) {
  prepared_->verdict.refused_by = "of an earlier try";
  prepared_->intent.set_marker("of an earlier try");
  ASSERT_TRUE(Run(Of(Wanted())).ok());
  EXPECT_EQ(prepared_->verdict.refused_by, "");
  EXPECT_NE(prepared_->intent.marker(), "of an earlier try");
}

}  // namespace
}  // namespace finetune
