#include "server/store/postgres_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/store/postgres_server.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using Use = PostgresSession::Use;

TEST(PgUnavailable, SaysWhatTheDatabaseSaid) {
  const absl::Status status = PgUnavailable({"57P01", "it is going away"});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("it is going away"));
}

class PostgresSessionTest : public DatabaseTest {
 protected:
  absl::StatusOr<std::unique_ptr<PostgresSession>> Open(Use use) {
    return PostgresSession::Open({.url = server_.Url("record")}, use, Soon(), absl::ZeroDuration());
  }
  static absl::Time Soon() { return SteadyNow() + absl::Seconds(30); }
  static std::string Setting(PostgresSession& session, const std::string& name) {
    std::vector<PgRows> rows;
    const PgError error = session.connection().Run(
        {{"SELECT current_setting($1::text)", {PgValue::Text(name)}}}, Soon(), rows);
    return error.ok() ? std::string(rows[0].Bytes(0, 0)) : error.message;
  }
};

TEST_F(PostgresSessionTest, OneThatIsAloneKeepsAllOthersOut) {
  auto alone = Open(Use::kAlone);
  ASSERT_TRUE(alone.ok()) << alone.status();
  for (Use use : {Use::kAlone, Use::kShared}) {
    const absl::Status refused = Open(use).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(refused.message()),
                HasSubstr(use == Use::kShared ? "is being moved" : "gateways work on the record"));
  }
  alone->reset();
  // The server misses the connection a moment later.
  EXPECT_TRUE(
      PostgresSession::Open({.url = server_.Url("record")}, Use::kShared, Soon(), absl::Seconds(30))
          .ok());
}

TEST_F(PostgresSessionTest, ThoseOfAFleetShareTheRecordAndKeepALonelyOneOut) {
  const auto one = Open(Use::kShared);
  const auto other = Open(Use::kShared);
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_EQ((*one)->server(), (*other)->server());
  EXPECT_EQ(Open(Use::kAlone).status().code(), absl::StatusCode::kFailedPrecondition);
  // What asks beside them needs no lock.
  EXPECT_TRUE(PostgresSession::OpenBeside({.url = server_.Url("record")}, Soon()).ok());
}

TEST_F(PostgresSessionTest, ACommitIsDurableWhateverTheServersDefaultIs) {
  ASSERT_EQ(server_.Execute("postgres", "ALTER DATABASE record SET synchronous_commit = off"), "");
  EXPECT_EQ(Setting(**Open(Use::kShared), "synchronous_commit"), "on");
  ASSERT_EQ(
      server_.Execute("postgres", "ALTER DATABASE record SET synchronous_commit = remote_apply"),
      "");
  EXPECT_EQ(Setting(**Open(Use::kShared), "synchronous_commit"), "remote_apply");
}

TEST_F(PostgresSessionTest, NoDefaultOfTheRolesEndsItWhileItRests) {
  for (const char* name : {"idle_session_timeout", "statement_timeout"}) {
    ASSERT_EQ(server_.Execute("record", absl::StrCat("ALTER ROLE admin SET ", name, " = '9s'")),
              "");
    auto session = Open(Use::kShared);
    ASSERT_TRUE(session.ok()) << session.status();
    EXPECT_EQ(Setting(**session, name), "0");
  }
}

TEST_F(PostgresSessionTest, ARestartedServerIsAnotherOne) {
  const std::string before = (*Open(Use::kShared))->server();
  server_.Stop();
  server_.Start();
  ASSERT_TRUE(server_.running());
  EXPECT_NE((*Open(Use::kShared))->server(), before);
}

TEST_F(PostgresSessionTest, ADatabaseThatCannotHoldAllLanguagesIsRefused) {
  ASSERT_EQ(
      server_.Execute("postgres",
                      "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"),
      "");
  const absl::Status refused =
      PostgresSession::OpenBeside({.url = server_.Url("latin")}, Soon()).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("LATIN1"));
}

}  // namespace
}  // namespace finetune
