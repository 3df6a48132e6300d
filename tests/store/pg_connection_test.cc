#include "server/store/pg_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/store/postgres_server.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string BytesOf(const PgValue& value) {
  return {value.data(), static_cast<size_t>(value.size())};
}

std::string Chars(std::initializer_list<int> bytes) { return {bytes.begin(), bytes.end()}; }

TEST(PgValue, HasANumbersMostSignificantByteInFront) {
  EXPECT_EQ(BytesOf(PgValue::Number(258)), Chars({0, 0, 0, 0, 0, 0, 1, 2}));
  EXPECT_EQ(BytesOf(PgValue::Number(-1)), std::string(8, '\xff'));
}

TEST(PgValue, TellsNullFromAnEmptyText) {
  EXPECT_EQ(PgValue::Null().data(), nullptr);
  EXPECT_NE(PgValue::Text("").data(), nullptr);
  EXPECT_EQ(PgValue::Text("").size(), 0);
}

TEST(PgValue, HasAnArraysDimensionsBeforeItsElements) {
  EXPECT_EQ(BytesOf(PgValue::Array(PgValue::kText, {})),
            Chars({0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 25}));
  EXPECT_EQ(BytesOf(PgValue::Array(PgValue::kText, {PgValue::Text("ab"), PgValue::Null()})),
            Chars({0, 0, 0, 1, 0, 0, 0, 1, 0, 0,   0,   25,  0,   0,   0,
                   2, 0, 0, 0, 1, 0, 0, 0, 2, 'a', 'b', 255, 255, 255, 255}));
}

TEST(PgError, SaysWhatOperatorsShouldLookAt) {
  EXPECT_EQ((PgError{"53100", "could not extend file \"base/5/1\""}).words(),
            "its disk is full (could not extend file \"base/5/1\")");
  EXPECT_EQ((PgError{"42P01", "no such table"}).words(), "no such table");
  EXPECT_EQ((PgError{"", "the connection broke"}).words(), "the connection broke");
}

TEST(PgError, TellsWhatPassesFromWhatStays) {
  // disk_full, out_of_memory, too_many_connections, cannot_connect_now, io_error,
  // serialization_failure, lock_not_available, read_only_sql_transaction.
  for (const char* state : {"53100", "53200", "53300", "57P03", "58030", "40001", "55P03", "25006"})
    EXPECT_TRUE((PgError{state, "x"}).passes()) << state;
  for (const char* state : {"", "42501", "42P01", "22021", "23505"})
    EXPECT_FALSE((PgError{state, "x"}).passes()) << state;
}

TEST(PgTarget, APasswordInTheUrlIsRefusedAndNotQuoted) {
  for (const char* url :
       {"postgresql://me:hunter2@db/record", "postgresql://me:hun/ter2@db/record",
        "postgresql://me:hun?ter2@db/record", "postgresql://db/record?password=hunter2"}) {
    const absl::Status status = CheckPgTarget({.url = url});
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << url;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--store_password_file")) << url;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("ter2"))) << url;
  }
}

TEST(PgTarget, WhatIsNoUrlIsRefusedAndNotQuoted) {
  const absl::Status status = CheckPgTarget({.url = "postgresql://db:notaport/%zz secret"});
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret")));
}

TEST(PgTarget, WhatNoServerCanMendIsRefusedAndNotWaitedFor) {
  for (const char* url : {"postgresql://u@127.0.0.1:99999/db", "postgresql://u@127.0.0.1:port/db",
                          "postgresql://u@127.0.0.1:9/db?sslmode=perhaps"}) {
    const absl::Status refused =
        PgConnection::Open({.url = url}, SteadyNow() + absl::Seconds(30)).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << url << refused;
    EXPECT_THAT(std::string(refused.message()), HasSubstr("the URL cannot be used: invalid"));
  }
}

TEST(PgTarget, APasswordFileMustBeThere) {
  EXPECT_TRUE(CheckPgTarget({.url = "postgresql://me@db/record"}).ok());
  EXPECT_FALSE(
      CheckPgTarget({.url = "postgresql://me@db/record", .password_file = "/nowhere/password"})
          .ok());
}

TEST(PgTarget, IsShownWithoutWhatMayBeSecret) {
  EXPECT_EQ(ShownPgUrl("postgresql://me@db:5433/record?sslkey=/key"),
            "postgresql://db:5433/record");
  EXPECT_EQ(ShownPgUrl("postgresql://me@db/record"), "postgresql://db/record");
  EXPECT_EQ(ShownPgUrl("postgresql://me:hunter2@db/record"), "postgresql:");
}

class PgConnectionTest : public DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    connection_ = Open();
  }
  std::unique_ptr<PgConnection> Open() {
    return PgConnection::Open({.url = server_.Url("record")}, Soon()).value();
  }
  static absl::Time Soon() { return SteadyNow() + absl::Seconds(30); }
  PgError Run(const std::vector<PgQuery>& queries) {
    return connection_->Run(queries, Soon(), rows_);
  }

  std::unique_ptr<PgConnection> connection_;
  std::vector<PgRows> rows_;
};

TEST_F(PgConnectionTest, AnswersEachStatementInOrder) {
  ASSERT_TRUE(Run({{"SELECT $1::bigint * 2", {PgValue::Number(-21)}},
                   {"SELECT $1::text, NULL::text", {PgValue::Text("a\nb")}},
                   {"SELECT unnest($1::bigint[])",
                    {PgValue::Array(PgValue::kBigint, {PgValue::Number(7), PgValue::Null()})}}})
                  .ok());
  ASSERT_EQ(rows_.size(), 3);
  EXPECT_EQ(rows_[0].Number(0, 0), -42);
  EXPECT_EQ(rows_[1].Bytes(0, 0), "a\nb");
  EXPECT_FALSE(rows_[1].IsNull(0, 0));
  EXPECT_TRUE(rows_[1].IsNull(0, 1));
  ASSERT_EQ(rows_[2].size(), 2);
  EXPECT_EQ(rows_[2].Number(0, 0), 7);
  EXPECT_TRUE(rows_[2].IsNull(1, 0));
  EXPECT_EQ(rows_[2].Bytes(5, 0), "");
}

TEST_F(PgConnectionTest, WhatFollowsAStatementThatFailsIsNotRun) {
  ASSERT_TRUE(Run({{"CREATE TEMP TABLE seen (n bigint)"}}).ok());
  const PgError error =
      Run({{"SELECT 1"}, {"SELECT 1 FROM nowhere"}, {"INSERT INTO seen VALUES (1)"}});
  EXPECT_EQ(error.state, "42P01");
  EXPECT_THAT(error.message, HasSubstr("nowhere"));
  EXPECT_FALSE(error.broken());
  EXPECT_FALSE(connection_->broken());
  // The connection goes on.
  ASSERT_TRUE(Run({{"SELECT count(*) FROM seen"}}).ok());
  EXPECT_EQ(rows_[0].Number(0, 0), 0);
}

TEST_F(PgConnectionTest, AnErrorThatComesLongBeforeTheEndOfTheAnswersIsNotTheLastOfThem) {
  // The server says what is wrong with the first statement while it has yet to read the second.
  const std::string much(8 << 20, 'x');
  for (int i = 0; i < 5; ++i) {
    const PgError error =
        Run({{"SELECT 1 FROM nowhere"}, {"SELECT length($1::text)", {PgValue::Text(much)}}});
    EXPECT_EQ(error.state, "42P01");
    ASSERT_EQ(Run({{"SELECT 1::bigint"}}).message, "");
    EXPECT_EQ(rows_[0].Number(0, 0), 1);
  }
}

TEST_F(PgConnectionTest, TellsACommitFromARollbackInItsPlace) {
  ASSERT_TRUE(Run({{"BEGIN"}, {"COMMIT"}}).ok());
  EXPECT_EQ(rows_[1].tag(), "COMMIT");
  ASSERT_TRUE(Run({{"BEGIN"}}).ok());
  ASSERT_FALSE(Run({{"SELECT 1 FROM nowhere"}}).ok());
  ASSERT_EQ(Run({{"COMMIT"}}).message, "");
  EXPECT_EQ(rows_[0].tag(), "ROLLBACK");
}

TEST_F(PgConnectionTest, IsBrokenByADeadlineBecauseTheAnswerMayStillCome) {
  const PgError error = connection_->Run({{"SELECT 1"}}, SteadyNow(), rows_);
  EXPECT_TRUE(error.broken());
  EXPECT_TRUE(connection_->broken());
}

TEST_F(PgConnectionTest, IsBrokenByItsServersEnd) {
  const auto other = Open();
  const PgError ended =
      Run({{"SELECT pg_terminate_backend($1::bigint::int)", {PgValue::Number(other->backend())}}});
  ASSERT_TRUE(ended.ok()) << ended.message;
  const PgError error = other->Run({{"SELECT 1"}}, Soon(), rows_);
  EXPECT_FALSE(error.ok());
  EXPECT_TRUE(other->broken());
}

TEST_F(PgConnectionTest, OneToAStandbyIsNoUse) {
  ASSERT_TRUE(Run({{"ALTER SYSTEM SET wal_level = 'replica'"}}).ok());
  const PostgresStandby standby(server_);
  ASSERT_TRUE(standby.running());
  for (const char* sql : {"CREATE TABLE t (i int)", "BEGIN READ WRITE"}) {
    connection_ = PgConnection::Open({.url = standby.Url("record")}, Soon()).value();
    EXPECT_TRUE(Run({{"SELECT 1"}}).ok());
    EXPECT_FALSE(connection_->broken());
    const PgError error = Run({{sql}});
    EXPECT_TRUE(connection_->broken()) << sql;
    EXPECT_TRUE(error.passes());
    EXPECT_THAT(error.words(), HasSubstr("can only be read")) << error.message;
  }
}

TEST_F(PgConnectionTest, OfSeveralPlacesTakesTheFirstThatCanBeWritten) {
  ASSERT_TRUE(Run({{"ALTER SYSTEM SET wal_level = 'replica'"}}).ok());
  const PostgresStandby standby(server_);
  ASSERT_TRUE(standby.running());
  // Takes connections, and never says a word.
  const std::string silent = server_.folder() + "/silent";
  std::filesystem::create_directories(silent);
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  (silent + "/.s.PGSQL.5432").copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener, 10), 0);
  const std::string url = absl::StrCat("postgresql://admin@/postgres?host=", silent, ",/no/where,",
                                       standby.folder(), ",", server_.folder());
  auto opened = PgConnection::Open({.url = url}, SteadyNow() + absl::Seconds(4));
  close(listener);
  ASSERT_TRUE(opened.ok()) << opened.status();
  connection_ = *std::move(opened);
  ASSERT_TRUE(Run({{"SELECT pg_is_in_recovery()::int::bigint"}}).ok());
  EXPECT_EQ(rows_[0].Number(0, 0), 0);
}

TEST_F(PgConnectionTest, TextIsUtf8WhateverTheUrlSays) {
  connection_ =
      PgConnection::Open({.url = server_.Url("record") + "?client_encoding=LATIN1"}, Soon())
          .value();
  ASSERT_TRUE(Run({{"SELECT length($1::text)::bigint, $1::text", {PgValue::Text("日本")}}}).ok());
  EXPECT_EQ(rows_[0].Number(0, 0), 2);
  EXPECT_EQ(rows_[0].Bytes(0, 1), "日本");
}

TEST_F(PgConnectionTest, AFunctionThatIsNotSupportedSaysNothingOfStandbys) {
  const PgError error =
      Run({{"DO $$ BEGIN RAISE EXCEPTION 'not here' USING ERRCODE = '0A000'; END $$"}});
  EXPECT_EQ(error.state, "0A000");
  EXPECT_FALSE(connection_->broken());
}

TEST_F(PgConnectionTest, NotesWarningsOfTheLatestRunAlone) {
  ASSERT_TRUE(Run({{"COMMIT"}}).ok());  // There is no transaction.
  EXPECT_TRUE(connection_->warned());
  ASSERT_TRUE(Run({{"SELECT 1"}}).ok());
  EXPECT_FALSE(connection_->warned());
}

TEST_F(PgConnectionTest, WaitsForWhatOthersNotify) {
  ASSERT_TRUE(Run({{"LISTEN news"}}).ok());
  std::vector<PgRows> rows;
  const auto other = Open();
  ASSERT_TRUE(other->Run({{"NOTIFY news, 'first'"}, {"NOTIFY news, 'second'"}}, Soon(), rows).ok());
  std::vector<std::string> payloads, all;
  while (all.size() < 2) {
    ASSERT_TRUE(connection_->Wait(-1, Soon(), payloads).ok());
    ASSERT_THAT(payloads, Not(IsEmpty()));
    all.insert(all.end(), payloads.begin(), payloads.end());
  }
  EXPECT_THAT(all, ElementsAre("first", "second"));
}

TEST_F(PgConnectionTest, AWaitEndsWithTheDescriptorOrTheDeadline) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  ASSERT_EQ(write(pipe_ends[1], "x", 1), 1);
  std::vector<std::string> payloads = {"left over"};
  EXPECT_TRUE(connection_->Wait(pipe_ends[0], absl::InfiniteFuture(), payloads).ok());
  EXPECT_THAT(payloads, IsEmpty());
  EXPECT_TRUE(connection_->Wait(-1, SteadyNow(), payloads).ok());
  EXPECT_FALSE(connection_->broken());
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

TEST_F(PgConnectionTest, NobodyThereIsUnavailable) {
  const std::string url = server_.Url("record");
  server_.Stop(SIGQUIT);
  EXPECT_EQ(PgConnection::Open({.url = url}, Soon()).status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace finetune
