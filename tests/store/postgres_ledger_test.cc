#include "server/store/postgres_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/store/postgres_schema.h"
#include "tests/store/postgres_server.h"

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

TEST(PostgresLedger, ABatchThatChangesNothingHasNoStatements) {
  std::vector<PgQuery> queries;
  AddLedgerQueries({}, queries);
  EXPECT_THAT(queries, IsEmpty());
}

TEST(PostgresLedger, ManyRowsTakeAsManyStatementsAsOne) {
  const auto count = [](int rows) {
    StoreBatch batch;
    for (int i = 0; i < rows; ++i) batch.spending[Key(i, "alice")] = {.jobs = 1, .micros = 5};
    std::vector<PgQuery> queries;
    AddLedgerQueries(batch, queries);
    return queries.size();
  };
  EXPECT_EQ(count(500), count(1));
}

class PostgresLedgerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!server_.running()) GTEST_SKIP() << "there is no PostgreSQL here";
    connection_ = PgConnection::Open({.url = server_.Url("postgres")}, Soon()).value();
    ASSERT_TRUE(PreparePostgresTables(*connection_, "epoch", Soon()).ok());
  }
  static absl::Time Soon() { return SteadyNow() + absl::Seconds(30); }
  void Write(const StoreBatch& batch) {
    std::vector<PgQuery> queries = {{"BEGIN"}};
    AddLedgerQueries(batch, queries);
    queries.push_back({"COMMIT"});
    std::vector<PgRows> rows;
    const PgError error = connection_->Run(queries, Soon(), rows);
    ASSERT_TRUE(error.ok()) << error.message;
  }
  PgRows Ask(const PgQuery& query) {
    std::vector<PgRows> rows;
    const PgError error = connection_->Run({query}, Soon(), rows);
    EXPECT_TRUE(error.ok()) << error.message;
    return rows.at(0);
  }
  SpendingRows Read(const Store::SpendingQuery& query) {
    return SpendingRowsOf(Ask(ReadSpendingQuery(query)));
  }
  std::vector<std::optional<int64_t>> Totals(const std::vector<TotalKey>& keys) {
    return TotalsOf(Ask(FindTotalsQuery(keys)));
  }

  PostgresServer server_;
  std::unique_ptr<PgConnection> connection_;
};

TEST_F(PostgresLedgerTest, AddsToRowsAndLeavesOutThoseWithoutJobs) {
  Write({.spending = {{Key(1, "alice"), {2, 10}}, {Key(1, "bob"), {1, 4}}}});
  Write({.spending = {{Key(1, "alice"), {-1, -3}}, {Key(1, "bob"), {-1, -4}}}});
  EXPECT_THAT(Read({}), ElementsAre(Pair(Key(1, "alice"), SpendingCount{1, 7})));
}

TEST_F(PostgresLedgerTest, ReadsOneCallersRowsOfSomeQuartersPageByPage) {
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

TEST_F(PostgresLedgerTest, TotalsFollowTheRowsOfTheirTimeAndSubject) {
  Write({.new_totals = {{Total("caller:alice", 0, 10), 100}, {Total("team:art", 0, 10), 7}}});
  // The last quarter of the time, the first one after it, and another caller's.
  Write({.spending = {
             {Key(9, "alice"), {1, 5}}, {Key(10, "alice"), {1, 50}}, {Key(3, "bob"), {1, 500}}}});
  EXPECT_THAT(Totals({Total("caller:alice", 0, 10), Total("caller:alice", 0, 11),
                      Total("team:art", 0, 10)}),
              ElementsAre(105, std::nullopt, 512));
}

TEST_F(PostgresLedgerTest, ForgetsRowsAndTotalsThatEndedBefore) {
  Write({.new_totals = {{Total("account", 0, 5), 1}, {Total("account", 0, 6), 2}},
         .spending = {{Key(4, "alice"), {1, 1}}, {Key(5, "alice"), {1, 1}}}});
  Write({.forget_spending_before = StartOf(5)});
  EXPECT_THAT(Read({}), ElementsAre(Pair(Key(5, "alice"), SpendingCount{1, 1})));
  EXPECT_THAT(Totals({Total("account", 0, 5), Total("account", 0, 6)}), ElementsAre(2, 4));
  Write({.forget_spending_before = StartOf(6)});
  EXPECT_THAT(Totals({Total("account", 0, 5), Total("account", 0, 6)}),
              ElementsAre(std::nullopt, 4));
}

}  // namespace
}  // namespace finetune
