#include "server/store/sqlite_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

SpendingKey Key(Quarter quarter, const std::string& caller) {
  return {.quarter = quarter, .caller = caller, .team = "art", .model = "FLUX", .unit = "credits"};
}

TotalKey Total(const std::string& subject, Quarter start, Quarter end) {
  return {.subject = subject, .measure = UnitMeasure("credits"), .start = start, .end = end};
}

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

TEST_F(SqliteLedgerTest, AddsToRowsAndLeavesOutThoseWithoutJobs) {
  Write({.spending = {{Key(1, "alice"), {2, 10}}, {Key(1, "bob"), {1, 4}}}});
  Write({.spending = {{Key(1, "alice"), {-1, -3}}, {Key(1, "bob"), {-1, -4}}}});
  EXPECT_THAT(Read({}), ElementsAre(Pair(Key(1, "alice"), SpendingCount{1, 7})));
  // A row that was forgotten before has nothing to take from.
  Write({.spending = {{Key(0, "carol"), {-1, -4}}}});
  EXPECT_THAT(Read({}), SizeIs(1));
  EXPECT_EQ(DigestOfAll(), digest_);
  EXPECT_TRUE(whole_);
}

TEST_F(SqliteLedgerTest, ReadsOneCallersRowsOfSomeQuartersPageByPage) {
  StoreBatch batch;
  for (Quarter quarter : {-1, 0, 1, 2}) {
    for (const char* caller : {"alice", "bob"}) batch.spending[Key(quarter, caller)] = {1, 1};
  }
  Write(batch);
  EXPECT_THAT(Read({.start = -1, .end = 2}), SizeIs(6));
  const SpendingRows first = Read({.start = 0, .end = 2, .caller = "bob", .limit = 1});
  EXPECT_THAT(first, ElementsAre(Pair(Key(0, "bob"), SpendingCount{1, 1})));
  EXPECT_THAT(Read({.start = 0, .end = 2, .caller = "bob", .after = first.rbegin()->first}),
              ElementsAre(Pair(Key(1, "bob"), SpendingCount{1, 1})));
}

TEST_F(SqliteLedgerTest, TotalsFollowTheRowsOfTheirTimeAndSubject) {
  Write({.new_totals = {{Total("caller:alice", 0, 10), 100}, {Total("team:art", 0, 10), 7}}});
  // The last quarter of the time, the first one after it, and another caller's.
  Write({.spending = {
             {Key(9, "alice"), {1, 5}}, {Key(10, "alice"), {1, 50}}, {Key(3, "bob"), {1, 500}}}});
  EXPECT_THAT(Totals({Total("caller:alice", 0, 10), Total("caller:alice", 0, 11),
                      Total("team:art", 0, 10)}),
              ElementsAre(105, std::nullopt, 512));
  EXPECT_EQ(DigestOfAll(), digest_);
}

TEST_F(SqliteLedgerTest, ForgetsRowsAndTotalsThatEndedBefore) {
  Write({.new_totals = {{Total("account", 0, 5), 1}, {Total("account", 0, 6), 2}},
         .spending = {{Key(4, "alice"), {1, 1}}, {Key(5, "alice"), {1, 1}}}});
  Write({.forget_spending_before = StartOf(5)});
  EXPECT_THAT(Read({}), ElementsAre(Pair(Key(5, "alice"), SpendingCount{1, 1})));
  EXPECT_THAT(Totals({Total("account", 0, 5), Total("account", 0, 6)}), ElementsAre(2, 4));
  Write({.forget_spending_before = StartOf(7)});
  EXPECT_THAT(Read({}), IsEmpty());
  EXPECT_THAT(Totals({Total("account", 0, 5), Total("account", 0, 6)}),
              ElementsAre(std::nullopt, std::nullopt));
  // Nothing is left, nor anything of it in the sum of sums.
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
