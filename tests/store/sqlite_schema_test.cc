#include "server/store/sqlite_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "server/base/time_proto.h"

namespace finetune {
namespace {

class SqliteSchemaTest : public testing::Test {
 protected:
  SqliteSchemaTest() { EXPECT_TRUE(db_.Open(":memory:").ok()); }
  int64_t Number(const char* sql) {
    int64_t number = -1;
    const SqliteError error = db_.Query(sql, number);
    EXPECT_TRUE(error.ok()) << error.message;
    return number;
  }

  SqliteConnection db_;
};

TEST_F(SqliteSchemaTest, MakesTablesOfThisFormWithOneRowOfMetaAndOneEra) {
  ASSERT_TRUE(MakeSqliteTables(db_, "epoch").ok());
  EXPECT_FALSE(db_.InTransaction());
  EXPECT_EQ(Number("PRAGMA user_version"), kSqliteForm);
  EXPECT_EQ(Number("SELECT count(*) FROM meta WHERE epoch = 'epoch' AND revision = 0"), 1);
  EXPECT_EQ(Number("SELECT sum FROM meta"), SqliteMeta{.epoch = "epoch"}.Sum());
  EXPECT_EQ(Number("SELECT count(*) FROM eras"), 1);
}

TEST_F(SqliteSchemaTest, TablesThatAreThereAreNotMadeAnew) {
  ASSERT_TRUE(MakeSqliteTables(db_, "epoch").ok());
  EXPECT_FALSE(MakeSqliteTables(db_, "other").ok());
  if (db_.InTransaction()) ASSERT_TRUE(db_.Execute("ROLLBACK").ok());
  EXPECT_EQ(Number("SELECT count(*) FROM meta WHERE epoch = 'epoch'"), 1);
}

TEST_F(SqliteSchemaTest, AnUpgradeOfTablesThatAreNotOursLeavesThemAlone) {
  ASSERT_TRUE(db_.Execute("CREATE TABLE recipes (name TEXT); PRAGMA user_version = 1").ok());
  EXPECT_FALSE(UpgradeSqliteTables(db_, 1).ok());
  if (db_.InTransaction()) ASSERT_TRUE(db_.Execute("ROLLBACK").ok());
  EXPECT_EQ(Number("SELECT count(*) FROM sqlite_master"), 1);
  EXPECT_EQ(Number("PRAGMA user_version"), 1);
}

TEST(SqliteMeta, AnyPartOfItChangesItsSum) {
  const SqliteMeta meta{.epoch = "e", .revision = 1, .seq = 2, .digest = 3};
  std::set<int64_t> sums = {meta.Sum()};
  SqliteMeta other = meta;
  other.epoch = "f";
  sums.insert(other.Sum());
  (other = meta).revision = 2;
  sums.insert(other.Sum());
  (other = meta).seq = 1;
  sums.insert(other.Sum());
  (other = meta).digest = 4;
  sums.insert(other.Sum());
  (other = meta).lost = "x";
  sums.insert(other.Sum());
  // What is lost is not where it was moved to.
  (other = meta).moved_to = "x";
  sums.insert(other.Sum());
  EXPECT_EQ(sums.size(), 7);
  EXPECT_EQ(SqliteMeta(meta).Sum(), meta.Sum());
}

TEST(RowSums, TellTablesAndColumnsApart) {
  EXPECT_NE(SumOfIntent("ab", "c", "x"), SumOfIntent("a", "bc", "x"));
  EXPECT_NE(SumOfChange(1, 2, "id", "after", "", false),
            SumOfChange(1, 2, "id", "", "after", false));
  EXPECT_NE(SumOfChange(1, 2, "id", "after", "", false),
            SumOfChange(1, 2, "id", "after", "", true));
  EXPECT_NE(SumOfRecord(1, "id", "bytes"), SumOfRecord(2, "id", "bytes"));
  const SpendingKey key{.caller = "a", .team = "b"};
  EXPECT_NE(SumOfSpending(key, {1, 2}), SumOfSpending(key, {2, 1}));
  EXPECT_NE(SumOfSpending(key, {1, 2}), SumOfSpending({.caller = "b", .team = "a"}, {1, 2}));
  EXPECT_NE(SumOfTotal({.start = 1, .end = 2}, 3), SumOfTotal({.start = 2, .end = 1}, 3));
}

TEST(IntentColumns, HaveASettleTimeOnlyOnceItIsSettled) {
  record::Intent intent;
  intent.set_state(record::Intent::UNKNOWN);
  *intent.mutable_create_time() = ToProto(absl::FromUnixNanos(17));
  EXPECT_EQ(IntentColumns(intent).state, record::Intent::UNKNOWN);
  EXPECT_EQ(IntentColumns(intent).create_time, 17);
  EXPECT_EQ(IntentColumns(intent).settle_time, std::nullopt);
  *intent.mutable_settle_time() = ToProto(absl::FromUnixNanos(19));
  EXPECT_EQ(IntentColumns(intent).settle_time, 19);
}

}  // namespace
}  // namespace finetune
