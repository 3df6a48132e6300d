#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "server/store/postgres_schema.h"
#include "tests/store/postgres_server.h"

namespace finetune {

// The record's tables, and a connection to them.
class PreparedDatabase : public DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    connection_ = PgConnection::Open({.url = server_.Url("record")}, Soon()).value();
    const absl::Status prepared = PreparePostgresTables(*connection_, "epoch", Soon());
    ASSERT_TRUE(prepared.ok()) << prepared;
  }
  static absl::Time Soon() { return SteadyNow() + absl::Seconds(30); }

  std::vector<PgRows> AskAll(const std::vector<PgQuery>& queries) {
    std::vector<PgRows> rows;
    const PgError error = connection_->Run(queries, Soon(), rows);
    EXPECT_TRUE(error.ok()) << error.message;
    return rows;
  }
  PgRows Ask(const PgQuery& query) { return AskAll({query}).at(0); }
  // The rows' only column.
  std::vector<std::string> Texts(const char* sql) {
    const PgRows rows = Ask({sql});
    std::vector<std::string> texts;
    for (int i = 0; i < rows.size(); ++i) texts.emplace_back(rows.Bytes(i, 0));
    return texts;
  }
  void Execute(const char* sql) { AskAll({{sql}}); }
  // As one transaction.
  void Write(std::vector<PgQuery> queries) {
    queries.insert(queries.begin(), {"BEGIN"});
    queries.push_back({"COMMIT"});
    AskAll(queries);
  }

  std::unique_ptr<PgConnection> connection_;
};

}  // namespace finetune
