#include "server/store/postgres_outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/error.h"
#include "server/store/reading_bytes.h"
#include "tests/store/prepared_database.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

// What waits, said to a database by a thread that calls itself the fleet's.
class PostgresOutboxTest : public PreparedDatabase {
 protected:
  void SetUp() override {
    PreparedDatabase::SetUp();
    if (connection_ == nullptr) return;
    Execute("UPDATE finetune.leader SET term = 3, holder = 'me'");
    Execute("LISTEN finetune_fleet");
  }
  // The words that all were told.
  std::vector<std::string> Say(const LeaderTerm* term = nullptr) {
    const std::vector<PgQuery> queries = outbox_.Take(term, clock_);
    if (queries.empty()) return {};
    outbox_.OnSaid(AskAll(queries));
    std::vector<std::string> words;
    EXPECT_TRUE(connection_->Wait(-1, Soon(), words).ok());
    return words;
  }
  std::vector<std::string> Hints() {
    const PgRows rows = Ask({"SELECT upstream_id FROM finetune.hints"});
    std::vector<std::string> ids;
    for (int i = 0; i < rows.size(); ++i) ids.emplace_back(rows.Bytes(i, 0));
    return ids;
  }
  void Want() {
    outbox_.AddWant([this](absl::StatusOr<uint64_t> ticket) { tickets_.push_back(ticket); });
  }

  const LeaderTerm term_{3, "me"};
  DatabaseClock clock_;
  PostgresOutbox outbox_;
  std::vector<absl::StatusOr<uint64_t>> tickets_;
};

TEST_F(PostgresOutboxTest, SaysAllThatWaitsOnceAndTellsTheLeader) {
  EXPECT_TRUE(outbox_.Take(nullptr, clock_).empty());
  outbox_.AddHint({"a", {}});
  outbox_.AddHint({"a", {}});
  outbox_.AddHint({"b", {}});
  outbox_.AddHint({std::string("no\0text", 7), {}});
  EXPECT_THAT(Say(), ElementsAre(kFleetToLeader));
  EXPECT_THAT(Hints(), UnorderedElementsAre("a", "b", ""));
  EXPECT_TRUE(outbox_.Take(nullptr, clock_).empty());
  outbox_.AddWake();
  EXPECT_THAT(Say(), ElementsAre(kFleetWake));
}

TEST_F(PostgresOutboxTest, SaysWhichTraceAHintIsOfIfThatIsRecorded) {
  const std::string traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  outbox_.AddHint({"a b", *ParseTraceparent(traceparent)});
  outbox_.AddHint(
      {"c", *ParseTraceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")});
  const std::vector<std::string> words = Say();
  ASSERT_THAT(words, ElementsAre("trace " + traceparent + " a b", kFleetToLeader));
  const auto hint = HintOfTraceWord(words[0]);
  EXPECT_EQ(hint->upstream_id, "a b");
  EXPECT_EQ(hint->trace.Traceparent(), traceparent);
  // Others may say whatever they like.
  for (const char* word : {"", "to leader", "trace ", "trace x", "trace x y", "trace 00-0-0-0 y"})
    EXPECT_FALSE(HintOfTraceWord(word)) << word;
}

TEST_F(PostgresOutboxTest, EachQuestionGetsTheTicketOfItsTurn) {
  Want();
  Want();
  outbox_.AddHint({"a", {}});
  Say();
  Want();
  Say();
  ASSERT_EQ(tickets_.size(), 3u);
  EXPECT_EQ(*tickets_[0], 1u);
  EXPECT_EQ(*tickets_[1], 1u);
  EXPECT_EQ(*tickets_[2], 2u);
}

TEST_F(PostgresOutboxTest, TellsAReadingOnlyInTheTermThatItIsOf) {
  outbox_.SetReading({.revision = 7});
  EXPECT_TRUE(outbox_.Take(nullptr, clock_).empty());
  outbox_.SetReading({.revision = 8});
  outbox_.SetReading({.revision = 9});
  EXPECT_THAT(Say(&term_), ElementsAre(kFleetToAll));
  const auto told = DecodeReading(Ask({"SELECT reading FROM finetune.leader"}).Bytes(0, 0), clock_);
  EXPECT_EQ(told->revision, 9u);
  outbox_.SetReading({.revision = 10});
  outbox_.DropReading();
  EXPECT_TRUE(outbox_.Take(&term_, clock_).empty());
  // Another one leads by now: it is not overwritten.
  Execute("UPDATE finetune.leader SET term = 4");
  outbox_.SetReading({.revision = 11});
  Say(&term_);
  EXPECT_EQ(
      DecodeReading(Ask({"SELECT reading FROM finetune.leader"}).Bytes(0, 0), clock_)->revision,
      9u);
}

TEST_F(PostgresOutboxTest, WhatMayBeSaidLaterLosesTicketsAlone) {
  Want();
  outbox_.AddHint({"a", {}});
  outbox_.AddWake();
  outbox_.SetReading({.revision = 7});
  EXPECT_FALSE(outbox_.Take(&term_, clock_).empty());
  outbox_.AddHint({"b", {}});
  outbox_.OnNotSaid({"", "the connection was lost"});
  ASSERT_EQ(tickets_.size(), 1u);
  EXPECT_EQ(ReasonOf(tickets_[0].status()), pb::ErrorReason::STORE_UNAVAILABLE);
  Say(&term_);
  EXPECT_THAT(Hints(), UnorderedElementsAre("a", "b"));
  EXPECT_EQ(
      DecodeReading(Ask({"SELECT reading FROM finetune.leader"}).Bytes(0, 0), clock_)->revision,
      7u);
  outbox_.AddHint({"c", {}});
  EXPECT_FALSE(outbox_.Take(nullptr, clock_).empty());
  // disk_full: there will be room again.
  outbox_.OnNotSaid({"53100", "could not extend file"});
  EXPECT_FALSE(outbox_.Take(nullptr, clock_).empty());
  // What is wrong with it will be so the next time.
  outbox_.OnNotSaid({"22021", "invalid byte sequence"});
  EXPECT_TRUE(outbox_.Take(nullptr, clock_).empty());
}

TEST_F(PostgresOutboxTest, OnceClosedNobodyWaits) {
  Want();
  outbox_.RefuseWants(absl::UnavailableError("away"));
  EXPECT_EQ(tickets_.at(0).status().message(), "away");
  Want();
  outbox_.Close();
  Want();
  ASSERT_EQ(tickets_.size(), 3u);
  for (const auto& ticket : tickets_) EXPECT_TRUE(absl::IsUnavailable(ticket.status()));
}

}  // namespace
}  // namespace finetune
