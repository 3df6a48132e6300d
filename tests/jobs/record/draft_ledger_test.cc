#include "server/jobs/record/draft_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/time_proto.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

CountedJob Counted(const std::string& caller, JobOutcome outcome = JobOutcome::kOpen) {
  return {.key = {.quarter = 5, .caller = caller, .unit = "c", .outcome = outcome},
          .count = {.jobs = 1, .micros = 10}};
}
TotalKey JobsOf(const std::string& caller, const char* measure = kCountJobs) {
  return {.subject = CallerSubject(caller), .measure = measure, .start = 0, .end = 100};
}

class DraftLedgerTest : public testing::Test {
 protected:
  DraftLedgerTest() {
    EXPECT_TRUE(store_->Load().ok());
    StoreBatch batch;
    batch.spending[Counted("alice").key] = {.jobs = 3, .micros = 30};
    EXPECT_TRUE(store_->Commit(batch).why.ok());
  }
  std::unique_ptr<Store> store_ = OpenSqliteStore(":memory:").value();
};

TEST_F(DraftLedgerTest, CountsATotalFromTheRowsOnce) {
  DraftLedger ledger(*store_);
  EXPECT_THAT(*ledger.TotalsOf({JobsOf("alice"), JobsOf("bob")}), ElementsAre(3, 0));
  EXPECT_EQ(ledger.new_totals().size(), 2u);
  StoreBatch batch;
  batch.new_totals.assign(ledger.new_totals().begin(), ledger.new_totals().end());
  ASSERT_TRUE(store_->Commit(batch).why.ok());
  DraftLedger next(*store_);
  EXPECT_THAT(*next.TotalsOf({JobsOf("alice")}), ElementsAre(3));
  EXPECT_THAT(next.new_totals(), IsEmpty());
}

TEST_F(DraftLedgerTest, AddsWhatTheCommitHasSoFar) {
  for (const bool asked_before : {false, true}) {
    DraftLedger ledger(*store_);
    if (asked_before) ASSERT_TRUE(ledger.TotalsOf({JobsOf("alice")}).ok());
    auto& submission = ledger.Begin("a", /*visible=*/false, std::nullopt);
    ledger.ChangeIntent(submission, Counted("alice"));
    EXPECT_THAT(*ledger.TotalsOf({JobsOf("alice"), JobsOf("alice", "unit:c")}), ElementsAre(4, 40));
    // Visible now: it is the same submission.
    ledger.ChangeJob(submission, std::nullopt, Counted("alice"));
    ledger.ChangeIntent(submission, std::nullopt);
    EXPECT_THAT(*ledger.TotalsOf({JobsOf("alice"), JobsOf("alice", kCountOpen)}),
                ElementsAre(4, 4));
    ledger.ChangeJob(submission, std::nullopt, Counted("alice", JobOutcome::kFailed));
    EXPECT_THAT(*ledger.TotalsOf({JobsOf("alice"), JobsOf("alice", kCountOpen)}),
                ElementsAre(4, 3));
    EXPECT_EQ(ledger.Changes(),
              (SpendingRows{{Counted("alice", JobOutcome::kFailed).key, {1, 10}}}));
  }
}

TEST_F(DraftLedgerTest, GivesBackWhatWasNotSubmitted) {
  DraftLedger ledger(*store_);
  auto& submission = ledger.Begin("a", /*visible=*/false, Counted("alice"));
  ledger.ChangeIntent(submission, std::nullopt);
  EXPECT_THAT(*ledger.TotalsOf({JobsOf("alice")}), ElementsAre(2));
  EXPECT_EQ(ledger.Changes(), (SpendingRows{{Counted("alice").key, {-1, -10}}}));
}

TEST_F(DraftLedgerTest, ChangesNothingWhereNothingIsCountedOtherwise) {
  DraftLedger ledger(*store_);
  auto& submission = ledger.Begin("a", /*visible=*/true, Counted("alice"));
  // Its job counts, whatever becomes of the intent.
  ledger.ChangeIntent(submission, std::nullopt);
  ledger.ChangeJob(submission, Counted("alice"), Counted("alice"));
  EXPECT_THAT(ledger.Changes(), IsEmpty());
}

// Through a recorder: a forgotten job goes on counting, and the ledger is that of all jobs.
TEST(Ledger, OfARecorderKeepsWhatIsForgotten) {
  JobsFixture jobs;
  ASSERT_TRUE(jobs.loaded.ok());
  auto job = MakeJob("a");
  job.set_request_id("r");
  ASSERT_TRUE(jobs.Put(job).ok());
  ASSERT_TRUE(jobs.Put(MakeJob("elsewhere")).ok());
  job.mutable_fine_tune()->set_state(pb::FineTune::LOST);
  ASSERT_TRUE(jobs.Put(job).ok());
  ASSERT_TRUE(jobs.Run([](Draft& draft) {
                    draft.Forget("a");
                    return absl::OkStatus();
                  })
                  .ok());
  ASSERT_TRUE(jobs.Run([](Draft& draft) {
                    const SpendingRows rows = draft.ReadSpending({}).value();
                    EXPECT_EQ(rows.size(), 1u);
                    EXPECT_EQ(rows.begin()->first.outcome, JobOutcome::kLost);
                    EXPECT_EQ(rows.begin()->second.jobs, 1);
                    return absl::OkStatus();
                  })
                  .ok());
}

// What fails writes nothing of its own, and the next one sees nothing of it.
TEST(Ledger, OfARecorderCountsOnlyWhatWentWell) {
  JobsFixture jobs;
  ASSERT_TRUE(jobs.loaded.ok());
  record::Intent intent;
  intent.set_caller("alice");
  intent.set_request_id("r");
  intent.set_fine_tune_id("f");
  intent.set_state(record::Intent::PREPARED);
  EXPECT_FALSE(jobs.Run([&](Draft& draft) {
                     draft.PutIntent(intent);
                     return absl::CancelledError("no");
                   })
                   .ok());
  const TotalKey all{.subject = AccountSubject(), .measure = kCountJobs};
  const auto count = [&] {
    int64_t counted = -1;
    EXPECT_TRUE(jobs.Run([&](Draft& draft) {
                      counted = draft.TotalsOf({all}).value()[0];
                      return absl::OkStatus();
                    })
                    .ok());
    return counted;
  };
  EXPECT_EQ(count(), 0);
  ASSERT_TRUE(jobs.Run([&](Draft& draft) {
                    draft.PutIntent(intent);
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_EQ(count(), 1);
  ASSERT_TRUE(jobs.Run([&](Draft& draft) {
                    draft.DeleteIntent("alice", "r");
                    return absl::OkStatus();
                  })
                  .ok());
  EXPECT_EQ(count(), 0);
}

}  // namespace
}  // namespace finetune
