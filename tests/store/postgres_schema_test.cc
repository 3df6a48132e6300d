#include "server/store/postgres_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/store/postgres_server.h"

namespace finetune {
namespace {

class PostgresSchemaTest : public DatabaseTest {
 protected:
  std::unique_ptr<PgConnection> Connect() {
    return PgConnection::Open({.url = server_.Url("record")}, absl::Now() + absl::Seconds(10))
        .value();
  }
  absl::Status Prepare() {
    return PreparePostgresTables(*Connect(), "epoch", absl::Now() + absl::Seconds(30));
  }
  int64_t Number(const char* sql) {
    std::vector<PgRows> rows;
    const PgError error = Connect()->Run({{sql}}, absl::Now() + absl::Seconds(10), rows);
    EXPECT_EQ(error.message, "");
    return error.ok() ? rows[0].Number(0, 0) : -1;
  }
  // As the first form's version left them.
  void MakeForm1() {
    for (const char* sql :
         {"CREATE SCHEMA finetune",
          "CREATE TABLE finetune.meta (one bool PRIMARY KEY DEFAULT true CHECK (one), epoch text "
          "NOT NULL, era bigint NOT NULL, seq bigint NOT NULL, revision bigint NOT NULL, server "
          "text NOT NULL, schema_form bigint NOT NULL, least_form bigint NOT NULL, fleet_format "
          "bigint NOT NULL, marker_key bytea NOT NULL DEFAULT '\\x01')",
          "CREATE TABLE finetune.members (id text PRIMARY KEY, last_batch bigint NOT NULL, seen "
          "bigint NOT NULL)",
          "CREATE TABLE finetune.eras (era bigint PRIMARY KEY, number bigserial, base_revision "
          "bigint NOT NULL, base_seq bigint NOT NULL, began bigint NOT NULL, why text NOT NULL)",
          "CREATE TABLE finetune.fine_tunes (first_revision bigint PRIMARY KEY, id text NOT NULL "
          "UNIQUE, revision bigint NOT NULL, record bytea NOT NULL)",
          "CREATE TABLE finetune.intents (caller text NOT NULL, request_id text NOT NULL, state "
          "bigint NOT NULL, marker text NOT NULL, seq bigint NOT NULL, create_time bigint NOT "
          "NULL, settle_time bigint, intent bytea NOT NULL, PRIMARY KEY (caller, request_id))",
          "INSERT INTO finetune.meta VALUES (true, 'before', 7, 8, 9, '', 1, 1, 1)",
          "INSERT INTO finetune.members VALUES ('m', 5, 6)"}) {
      ASSERT_EQ(server_.Execute("record", sql), "");
    }
  }
};

TEST_F(PostgresSchemaTest, MakesAllTablesOnce) {
  ASSERT_TRUE(Prepare().ok());
  EXPECT_EQ(Number("SELECT schema_form FROM finetune.meta"), kPostgresForm);
  EXPECT_EQ(Number("SELECT term FROM finetune.leader"), 0);
  ASSERT_EQ(server_.Execute("record", "UPDATE finetune.leader SET term = 4"), "");
  EXPECT_TRUE(Prepare().ok());
  EXPECT_EQ(Number("SELECT term FROM finetune.leader"), 4);
}

TEST_F(PostgresSchemaTest, ManyMayMakeThemAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      if (absl::Status status = Prepare(); !status.ok()) {
        ++failed;
        ADD_FAILURE() << status;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(Number("SELECT count(*) FROM finetune.meta"), 1);
}

TEST_F(PostgresSchemaTest, RaisesAnOlderFormInPlace) {
  MakeForm1();
  ASSERT_TRUE(Prepare().ok()) << Prepare();
  EXPECT_EQ(Number("SELECT schema_form FROM finetune.meta"), kPostgresForm);
  EXPECT_EQ(Number("SELECT least_form FROM finetune.meta"), 3);
  EXPECT_EQ(Number("SELECT count(*) FROM finetune.meta WHERE epoch = 'before' AND revision = 9"),
            1);
  EXPECT_EQ(Number("SELECT last_batch + expires FROM finetune.members WHERE id = 'm'"), 5);
  EXPECT_EQ(Number("SELECT count(*) FROM finetune.leader"), 1);
  // The older version goes on beside it, as far as it only reads.
  EXPECT_EQ(server_.Execute("record", "INSERT INTO finetune.members VALUES ('n', 1, 2)"), "");
}

TEST_F(PostgresSchemaTest, AGatewayThatDoesNotCountSpendingCommitsNothingMore) {
  MakeForm1();
  const char* const older = "UPDATE finetune.meta SET seq = seq + 1, revision = revision + 1";
  ASSERT_EQ(server_.Execute("record", older), "");
  ASSERT_TRUE(Prepare().ok()) << Prepare();
  EXPECT_THAT(server_.Execute("record", older),
              testing::HasSubstr("written_by_gateways_that_count_spending"));
  EXPECT_EQ(server_.Execute("record",
                            "UPDATE finetune.meta SET seq = seq + 1, ledger_seq = ledger_seq + 1"),
            "");
}

TEST_F(PostgresSchemaTest, WaitsForThoseWhoAreJustCommitting) {
  MakeForm1();
  auto other = Connect();
  std::vector<PgRows> rows;
  ASSERT_TRUE(other
                  ->Run({{"BEGIN"}, {"UPDATE finetune.members SET last_batch = 6"}},
                        absl::Now() + absl::Seconds(10), rows)
                  .ok());
  std::thread prepares([&] { EXPECT_TRUE(Prepare().ok()); });
  while (Number("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0) std::this_thread::yield();
  ASSERT_TRUE(other->Run({{"COMMIT"}}, absl::Now() + absl::Seconds(10), rows).ok());
  prepares.join();
  EXPECT_EQ(Number("SELECT last_batch FROM finetune.members"), 6);
}

TEST_F(PostgresSchemaTest, ANewerVersionsTablesAreRefusedOnlyIfTheyDoNotKnowThisForm) {
  ASSERT_TRUE(Prepare().ok());
  ASSERT_EQ(server_.Execute("record", "UPDATE finetune.meta SET schema_form = 90"), "");
  EXPECT_TRUE(Prepare().ok());
  EXPECT_EQ(Number("SELECT schema_form FROM finetune.meta"), 90);
  ASSERT_EQ(server_.Execute("record", "UPDATE finetune.meta SET least_form = 89"), "");
  EXPECT_EQ(Prepare().code(), absl::StatusCode::kFailedPrecondition);
  // A record that lost its row is no new one.
  ASSERT_EQ(server_.Execute("record", "DELETE FROM finetune.meta"), "");
  EXPECT_EQ(Prepare().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace finetune
