#include "server/store/postgres_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/store/prepared_database.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class PostgresRowsTest : public PreparedDatabase {
 protected:
  std::vector<PgRows> News(const StorePoint& known, int64_t most = 10) {
    return AskAll(NewsQueries(known, most, {"me"}));
  }
};

TEST_F(PostgresRowsTest, ReadsAChangeAsItWasWritten) {
  Execute(
      "INSERT INTO finetune.changes (revision, seq, time, id, after, before, forgotten) VALUES "
      "(7, 3, 17, 'a', '\\x00ff', NULL, false), (8, 3, 18, 'a', '\\x01', '\\x00ff', true)");
  const std::vector<StoredChange> changes = ChangesOf(Ask(NextChangesQuery(0, 10)));
  ASSERT_THAT(changes, SizeIs(2));
  EXPECT_EQ(changes[0].revision, 7);
  EXPECT_EQ(changes[0].time, absl::FromUnixNanos(17));
  EXPECT_EQ(changes[0].fine_tune_id, "a");
  EXPECT_EQ(changes[0].after, std::string("\0\xff", 2));
  EXPECT_EQ(changes[0].before, "");
  EXPECT_FALSE(changes[0].forgotten);
  EXPECT_EQ(changes[1].before, changes[0].after);
  EXPECT_TRUE(changes[1].forgotten);
  EXPECT_THAT(ChangesOf(Ask(kSelectChanges)), SizeIs(2));
  // From where another one left off.
  EXPECT_THAT(ChangesOf(Ask(NextChangesQuery(7, 10))), SizeIs(1));
  EXPECT_THAT(ChangesOf(Ask(NextChangesQuery(0, 1))), SizeIs(1));
}

TEST_F(PostgresRowsTest, ReadsThePointAndTheEras) {
  Execute("UPDATE finetune.meta SET era = 5, seq = 6, ledger_seq = 6, revision = 7");
  Execute("DELETE FROM finetune.eras");
  Execute(
      "INSERT INTO finetune.eras (era, base_revision, base_seq, began, why) VALUES (4, 0, 0, 1, "
      "'a start'), (5, 2, 3, 17, 'another server')");
  EXPECT_EQ(PointOf(Ask(kSelectMeta)), (StorePoint{5, 6, 7}));
  const std::vector<Era> eras = ErasOf(Ask(kSelectEras));
  ASSERT_THAT(eras, SizeIs(2));
  EXPECT_EQ(eras[1].id, 5);
  EXPECT_EQ(eras[1].base_revision, 2);
  EXPECT_EQ(eras[1].base_seq, 3);
  EXPECT_EQ(eras[1].began, absl::FromUnixNanos(17));
  EXPECT_EQ(eras[1].why, "another server");
  // Who knows the latest is not told of them again; who does not is told of all.
  EXPECT_THAT(ErasOf(News({.era = 5})[3]), IsEmpty());
  EXPECT_THAT(ErasOf(News({.era = 4})[3]), SizeIs(2));
}

TEST_F(PostgresRowsTest, NewsShowThatThereIsMore) {
  Execute(
      "INSERT INTO finetune.changes (revision, seq, time, id, after, forgotten) SELECT n, n, 0, "
      "'a', '', false FROM generate_series(1, 9) AS n");
  EXPECT_THAT(ChangesOf(News({.revision = 2}, /*most=*/7)[1]), SizeIs(7));
  EXPECT_THAT(ChangesOf(News({.revision = 2}, /*most=*/3)[1]), SizeIs(4));
}

TEST_F(PostgresRowsTest, AnIntentThatCannotBeReadIsDataLoss) {
  Execute(
      "INSERT INTO finetune.intents (caller, request_id, state, marker, seq, create_time, intent) "
      "VALUES ('c', 'r', 1, '', 1, 0, '')");
  const auto whole = IntentsOf(News({})[2]);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_THAT(*whole, SizeIs(1));
  Execute("UPDATE finetune.intents SET intent = '\\xff'");
  EXPECT_EQ(IntentsOf(News({})[2]).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(*IntentsOf(News({.seq = 1})[2]), IsEmpty());
}

TEST_F(PostgresRowsTest, CautionLastsUntilAllWhoAreAwaitedHaveSeenTheEra) {
  Execute("UPDATE finetune.meta SET era = 5, seq = 6, ledger_seq = 6");
  Execute("DELETE FROM finetune.eras");
  Execute(
      "INSERT INTO finetune.eras (era, base_revision, base_seq, began, why, cautious_until, "
      "awaits) "
      "VALUES (5, 0, 0, 0, 'another server', 17, '{me,other}')");
  const auto both = CautionOf(News({})[4]);
  ASSERT_TRUE(both.has_value());
  EXPECT_EQ(both->until, absl::FromUnixNanos(17));
  EXPECT_TRUE(both->awaits_me);
  EXPECT_TRUE(both->awaits_others);
  Execute(
      "INSERT INTO finetune.members (id, last_batch, seen, expires, seen_era) VALUES ('other', 0, "
      "0, 1, 5)");
  const auto mine = CautionOf(News({})[4]);
  ASSERT_TRUE(mine.has_value());
  EXPECT_TRUE(mine->awaits_me);
  EXPECT_FALSE(mine->awaits_others);
  Execute(
      "INSERT INTO finetune.members (id, last_batch, seen, expires, seen_era) VALUES ('me', 0, 0, "
      "1, 5)");
  EXPECT_EQ(CautionOf(News({})[4]), std::nullopt);
}

}  // namespace
}  // namespace finetune
