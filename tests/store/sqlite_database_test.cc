#include "server/store/sqlite_database.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

class SqliteDatabaseTest : public ::testing::Test {
 protected:
  SqliteDatabaseTest() {
    EXPECT_TRUE(db_.Open(":memory:").ok());
    EXPECT_TRUE(db_.Execute("CREATE TABLE t (id TEXT PRIMARY KEY, bytes BLOB, n INT)").ok());
    EXPECT_TRUE(db_.Prepare("INSERT INTO t VALUES (?1, ?2, ?3)", insert_).ok());
    EXPECT_TRUE(db_.Prepare("SELECT id, bytes, n FROM t ORDER BY id", select_).ok());
  }
  SqliteConnection db_;
  SqliteStatement insert_, select_;
};

TEST_F(SqliteDatabaseTest, GivesBackTheBytesThatItWasGiven) {
  const std::string bytes("\0\xff\0", 3);
  ASSERT_TRUE(insert_.Bind(1, "a").BindBlob(2, bytes).Bind(3, INT64_MIN).Run().ok());
  ASSERT_TRUE(insert_.Bind(1, "b").BindBlob(2, "").BindNull(3).Run().ok());
  ASSERT_TRUE(select_.Step());
  EXPECT_EQ(select_.Blob(0), "a");
  EXPECT_EQ(select_.Blob(1), bytes);
  EXPECT_EQ(select_.Number(2), INT64_MIN);
  EXPECT_FALSE(select_.IsNull(2));
  ASSERT_TRUE(select_.Step());
  EXPECT_EQ(select_.Blob(1), "");
  EXPECT_TRUE(select_.IsNull(2));
  EXPECT_FALSE(select_.Step());
  EXPECT_TRUE(select_.Reset().ok());
}

TEST_F(SqliteDatabaseTest, AStatementThatFailedMayRunAgain) {
  ASSERT_TRUE(insert_.Bind(1, "a").BindNull(2).BindNull(3).Run().ok());
  const SqliteError twice = insert_.Bind(1, "a").BindNull(2).BindNull(3).Run();
  EXPECT_EQ(twice.code & 0xff, SQLITE_CONSTRAINT);
  EXPECT_NE(twice.message, "");
  EXPECT_TRUE(insert_.Bind(1, "b").BindNull(2).BindNull(3).Run().ok());
  EXPECT_EQ(db_.RowsChanged(), 1);
}

TEST_F(SqliteDatabaseTest, AParameterThatThereIsNotIsAnErrorOfTheRun) {
  EXPECT_FALSE(insert_.Bind(1, "a").BindNull(2).BindNull(3).Bind(4, int64_t{1}).Run().ok());
  EXPECT_FALSE(select_.Step());
  EXPECT_TRUE(insert_.Bind(1, "a").BindNull(2).BindNull(3).Run().ok());
}

TEST_F(SqliteDatabaseTest, SaysWhatIsWrongWithSql) {
  EXPECT_FALSE(db_.Execute("SELEC 1").ok());
  SqliteStatement none;
  EXPECT_NE(db_.Prepare("SELECT x FROM nowhere", none).message.find("nowhere"), std::string::npos);
  int64_t number = 0;
  EXPECT_TRUE(db_.Query("SELECT count(*) FROM t", number).ok());
  EXPECT_EQ(number, 0);
  EXPECT_FALSE(SqliteConnection().Open("/nowhere/at/all.db").ok());
}

TEST_F(SqliteDatabaseTest, KnowsWhetherATransactionIsOpen) {
  EXPECT_FALSE(db_.InTransaction());
  ASSERT_TRUE(db_.Execute("BEGIN").ok());
  EXPECT_TRUE(db_.InTransaction());
  ASSERT_TRUE(db_.Execute("ROLLBACK").ok());
  EXPECT_FALSE(db_.InTransaction());
}

}  // namespace
}  // namespace finetune
