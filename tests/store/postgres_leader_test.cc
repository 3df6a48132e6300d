#include "server/store/postgres_leader.h"

#include <gtest/gtest.h>

#include "tests/store/prepared_database.h"

namespace finetune {
namespace {

class PostgresLeaderTest : public PreparedDatabase {
 protected:
  // Its number; 0 if it could not be begun.
  uint64_t TakeOver(const std::string& me) {
    std::vector<PgQuery> queries = TakeOverQueries(me, absl::Seconds(6));
    const size_t taken = queries.size() - 1;
    queries.push_back({"COMMIT"});
    const PgRows row = AskAll(queries).at(taken);
    return row.size() == 1 ? static_cast<uint64_t>(row.Number(0, 0)) : 0;
  }
  bool Renews(const LeaderTerm& term) {
    return Ask(RenewQuery(&term, absl::Seconds(6))).size() == 1;
  }
  std::string Reading() {
    return std::string(Ask({"SELECT reading FROM finetune.leader"}).Bytes(0, 0));
  }
};

TEST_F(PostgresLeaderTest, OneAfterAnotherLeadsAndEachTermIsANewOne) {
  EXPECT_EQ(TakeOver("a"), 1u);
  EXPECT_EQ(TakeOver("b"), 0u);
  EXPECT_TRUE(Renews({1, "a"}));
  AskAll({ResignQuery({1, "a"})});
  EXPECT_FALSE(Renews({1, "a"}));
  EXPECT_EQ(TakeOver("b"), 2u);
  EXPECT_TRUE(Renews({2, "b"}));
}

TEST_F(PostgresLeaderTest, WhatIsSaidInATermThatIsOverChangesNothing) {
  EXPECT_EQ(TakeOver("a"), 1u);
  AskAll({TellQuery({1, "a"}, "first")});
  Execute("UPDATE finetune.leader SET expires = 1");
  // Its lease has run out, even if nobody has taken over.
  EXPECT_FALSE(Renews({1, "a"}));
  EXPECT_EQ(TakeOver("b"), 2u);
  // A failover may give a number out twice.
  for (const LeaderTerm& old : {LeaderTerm{1, "a"}, {2, "a"}, {1, "b"}}) {
    AskAll({ResignQuery(old), TellQuery(old, "late")});
    EXPECT_FALSE(Renews(old));
  }
  EXPECT_EQ(Reading(), "first");
  EXPECT_TRUE(Renews({2, "b"}));
  EXPECT_EQ(Ask(RenewQuery(nullptr, absl::Seconds(6))).size(), 0);
}

TEST_F(PostgresLeaderTest, TicketsGoOnOverTerms) {
  EXPECT_EQ(Ask(WantQuery()).Number(0, 0), 1);
  EXPECT_EQ(TakeOver("a"), 1u);
  EXPECT_EQ(Ask(WantQuery()).Number(0, 0), 2);
}

}  // namespace
}  // namespace finetune
