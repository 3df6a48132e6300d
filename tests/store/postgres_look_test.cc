#include "server/store/postgres_look.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/clock.h"
#include "server/store/postgres_calls.h"
#include "tests/store/prepared_database.h"

namespace finetune {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class PostgresLookTest : public PreparedDatabase {
 protected:
  std::optional<FleetLook> Look(const LeaderTerm* term = nullptr) {
    const absl::Time sent = SteadyNow();
    return LookOf(AskAll(LookQueries(term, absl::Seconds(6))), sent, "me", clock_);
  }
  DatabaseClock clock_;
};

TEST_F(PostgresLookTest, ShowsWhoIsThereWhoLeadsAndWhatItTold) {
  Execute(
      "INSERT INTO finetune.members (id, name, version, last_batch, seen, started, expires) VALUES "
      "('me', 'pod-2', '1', 0, 0, 5000000000, 9223372036854775807), "
      "('other', 'pod-1', '2', 0, 0, 0, 9223372036854775807), ('gone', 'pod-0', '2', 0, 0, 0, 1)");
  Execute("UPDATE finetune.leader SET term = 3, holder = 'other', reading = 'news', wanted = 4");
  auto look = Look();
  ASSERT_TRUE(look);
  ASSERT_THAT(look->members, SizeIs(2));
  EXPECT_EQ(look->members[0].name, "pod-1");
  EXPECT_TRUE(look->members[1].is_me);
  EXPECT_EQ(look->members[1].started, absl::FromUnixSeconds(5));
  // Its lease has ended.
  EXPECT_EQ(look->leader_name, "");
  EXPECT_LT(look->left, absl::ZeroDuration());
  EXPECT_EQ(look->term, (LeaderTerm{3, "other"}));
  EXPECT_EQ(look->reading, "news");
  EXPECT_EQ(look->wanted, 4u);
  EXPECT_FALSE(look->is_synchronous);
  EXPECT_LT(absl::AbsDuration(look->skew), absl::Seconds(1));
  Execute("UPDATE finetune.leader SET expires = 9223372036854775807");
  look = Look();
  EXPECT_EQ(look->leader_name, "pod-1");
  EXPECT_TRUE(look->members[0].leads);
  EXPECT_FALSE(look->is_renewed);
}

TEST_F(PostgresLookTest, RenewsTheLeadersLeaseAndTakesTheHintsForItAlone) {
  Execute("UPDATE finetune.leader SET term = 3, holder = 'me', expires = 9000000000000000000");
  Execute("INSERT INTO finetune.hints VALUES ('a', 1), ('b', 2)");
  EXPECT_THAT(Look()->hints, IsEmpty());
  const LeaderTerm old{2, "me"}, term{3, "me"};
  EXPECT_THAT(Look(&old)->hints, IsEmpty());
  const auto look = Look(&term);
  EXPECT_TRUE(look->is_renewed);
  EXPECT_THAT(look->hints, UnorderedElementsAre("a", "b"));
  EXPECT_LE(look->left, absl::Seconds(6));
  EXPECT_THAT(Look(&term)->hints, IsEmpty());
}

TEST_F(PostgresLookTest, HasTheCallsThatAllHaveMade) {
  AskAll(PostgresCalls::LimitQueries(5));
  Execute(
      "UPDATE finetune.upstream_calls SET kind = 2, at = (extract(epoch FROM clock_timestamp()) * "
      "1000000000)::bigint WHERE slot < 3");
  EXPECT_THAT(Look()->calls.calls, SizeIs(2));
}

TEST_F(PostgresLookTest, SeesAllWhereNothingCanBeWritten) {
  Execute("UPDATE finetune.leader SET term = 3, holder = 'me', reading = 'news'");
  Execute("INSERT INTO finetune.hints VALUES ('a', 1)");
  Execute("SET default_transaction_read_only = on");
  const auto look = LookOf(AskAll(LookOnlyQueries()), SteadyNow(), "me", clock_);
  ASSERT_TRUE(look);
  EXPECT_EQ(look->reading, "news");
  EXPECT_FALSE(look->is_renewed);
  EXPECT_THAT(look->hints, IsEmpty());
}

TEST_F(PostgresLookTest, ATableThatLacksItsRowShowsNothing) {
  Execute("DELETE FROM finetune.leader");
  EXPECT_FALSE(Look());
}

}  // namespace
}  // namespace finetune
