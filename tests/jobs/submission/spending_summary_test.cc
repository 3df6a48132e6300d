#include "server/jobs/submission/spending_summary.h"

#include "tests/jobs/rig.h"

namespace finetune {
namespace {

class SpendingSummaryTest : public Rig {};

TEST_F(SpendingSummaryTest, IsReadForTheNextLookAndNotMoreOftenThanNeeded) {
  auto store = OpenSqliteStore(":memory:").value();
  ASSERT_TRUE(store->Load().ok());
  StoreBatch batch;
  const Quarter now = QuarterOf(clock_.WallNow());
  batch.spending[{.quarter = now, .team = "art", .unit = "credits"}] = {.jobs = 2, .micros = 7};
  batch.spending[{.quarter = now - 40 * 96, .team = "art"}] = {.jobs = 1};
  ASSERT_TRUE(store->Commit(batch).why.ok());
  process_ = std::make_unique<Process>(options_, std::move(store), segmind_.Connect(), clock_);
  ASSERT_TRUE(process_->Load().ok());
  SpendingReader reader(process_->recorder);
  SpendingSummary summary(reader, clock_);
  EXPECT_EQ(summary.Get().rows_size(), 0);
  ASSERT_TRUE(RunUntil([&] { return summary.Get().rows_size() > 0; }));
  const pb::GetSpendingResponse known = summary.Get();
  ASSERT_EQ(known.rows_size(), 1) << "of this month alone";
  EXPECT_EQ(known.rows(0).group(), "art");
  EXPECT_EQ(known.rows(0).jobs(), 2);
  EXPECT_EQ(known.rows(0).costs(0).micros(), 7);
}

}  // namespace
}  // namespace finetune
