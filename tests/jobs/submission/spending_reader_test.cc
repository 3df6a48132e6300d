#include "server/jobs/submission/spending_reader.h"

#include "tests/jobs/rig.h"

namespace finetune {
namespace {

class SpendingReads : public Rig {};

TEST_F(SpendingReads, GoPartByPartAndMissNothing) {
  auto store = OpenSqliteStore(":memory:").value();
  ASSERT_TRUE(store->Load().ok());
  SpendingRows all;
  for (int64_t i = 0; i < 2 * SpendingReader::kRowsAtOnce + 7; ++i)
    all[{.quarter = i / 3, .caller = absl::StrCat("c", i % 3)}] = {.jobs = i + 1};
  StoreBatch batch;
  batch.spending = all;
  ASSERT_TRUE(store->Commit(batch).why.ok());
  process_ = std::make_unique<Process>(options_, std::move(store), segmind_.Connect(), clock_);
  ASSERT_TRUE(process_->Load().ok());
  SpendingReader reader(process_->recorder);
  SpendingRows seen;
  size_t parts = 0;
  Reply<absl::Status> reply;
  reader.Read(
      {},
      [&](const SpendingRows& rows) {
        ++parts;
        seen.insert(rows.begin(), rows.end());
      },
      reply.Taker());
  ASSERT_TRUE(RunUntil([&] { return reply.ready(); }));
  EXPECT_TRUE(reply.get().ok());
  EXPECT_EQ(seen, all);
  EXPECT_EQ(parts, 3u);
}

}  // namespace
}  // namespace finetune
