#include "server/store/sqlite_ledger.h"

#include "tests/store/ledger_cases.h"

namespace finetune {
namespace {

class SqliteLedgerTest : public testing::Test {
 protected:
  SqliteLedgerTest() : session_(SqliteSession::Open(":memory:", /*create=*/true).value()) {}

  void Write(const StoreBatch& batch) {
    const SqliteError error = ledger_.Write(batch, digest_);
    ASSERT_TRUE(error.ok()) << error.message;
  }
  SpendingRows Read(const Store::SpendingQuery& query) {
    SpendingRows rows;
    EXPECT_TRUE(ledger_.Read(query, rows, whole_).ok());
    return rows;
  }
  std::vector<std::optional<int64_t>> Totals(const std::vector<TotalKey>& keys) {
    std::vector<std::optional<int64_t>> amounts;
    EXPECT_TRUE(ledger_.FindTotals(keys, amounts, whole_).ok());
    return amounts;
  }
  // What all rows' sums come to, looked at one by one.
  int64_t DigestOfAll() {
    int64_t digest = 0;
    EXPECT_TRUE(ledger_.Load(digest, whole_).ok());
    return digest;
  }

  const std::unique_ptr<SqliteSession> session_;
  SqliteLedger ledger_{*session_};
  int64_t digest_ = 0;
  bool whole_ = true;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Sqlite, LedgerCases, SqliteLedgerTest);

TEST_F(SqliteLedgerTest, ItsSumIsThatOfTheRowsThatAreThere) {
  Write({.new_totals = {{Total("caller:alice", 0, 10), 100}},
         .spending = {{Key(1, "alice"), {2, 10}}, {Key(1, "bob"), {1, 4}}}});
  Write({.spending = {{Key(1, "alice"), {-1, -3}}, {Key(1, "bob"), {-1, -4}}}});
  EXPECT_NE(digest_, 0);
  EXPECT_EQ(DigestOfAll(), digest_);
  EXPECT_TRUE(whole_);
  Write({.forget_spending_before = StartOf(100)});
  EXPECT_EQ(digest_, 0);
}

TEST_F(SqliteLedgerTest, ARowThatWasChangedByHandIsNoticedByWhateverReadsIt) {
  Write({.new_totals = {{Total("account", 0, 5), 1}}, .spending = {{Key(1, "alice"), {1, 1}}}});
  ASSERT_TRUE(session_->db.Execute("UPDATE spending SET micros = 0").ok());
  (void)Read({});
  EXPECT_FALSE(whole_);
  whole_ = true;
  (void)DigestOfAll();
  EXPECT_FALSE(whole_);
  whole_ = true;
  (void)Totals({Total("account", 0, 5)});
  EXPECT_TRUE(whole_);
  ASSERT_TRUE(session_->db.Execute("UPDATE totals SET amount = 0").ok());
  (void)Totals({Total("account", 0, 5)});
  EXPECT_FALSE(whole_);
}

}  // namespace
}  // namespace finetune
