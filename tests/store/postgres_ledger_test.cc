#include "server/store/postgres_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/store/ledger_cases.h"
#include "tests/store/prepared_database.h"

namespace finetune {
namespace {

using ::testing::IsEmpty;

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

class PostgresLedgerTest : public PreparedDatabase {
 protected:
  void Write(const StoreBatch& batch) {
    std::vector<PgQuery> queries;
    AddLedgerQueries(batch, queries);
    PreparedDatabase::Write(std::move(queries));
  }
  SpendingRows Read(const Store::SpendingQuery& query) {
    return SpendingRowsOf(Ask(ReadSpendingQuery(query)));
  }
  std::vector<std::optional<int64_t>> Totals(const std::vector<TotalKey>& keys) {
    return TotalsOf(Ask(FindTotalsQuery(keys)));
  }
};

INSTANTIATE_TYPED_TEST_SUITE_P(Postgres, LedgerCases, PostgresLedgerTest);

}  // namespace
}  // namespace finetune
