#include "server/store/postgres_calls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/store/prepared_database.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

TEST(PostgresCalls, AsksTheFleetsThreadForEachCallAndRefusesInOrder) {
  int woken = 0;
  PostgresCalls calls([&] { ++woken; });
  std::vector<int> refused;
  for (int kind : {1, 2}) {
    calls.Ask(kind, [&refused, kind](absl::StatusOr<CallBudget::Answer> answer) {
      EXPECT_EQ(answer.status(), absl::UnavailableError("gone"));
      refused.push_back(kind);
    });
  }
  EXPECT_EQ(woken, 2);
  EXPECT_THAT(refused, ElementsAre());
  calls.Refuse(absl::UnavailableError("gone"));
  EXPECT_THAT(refused, ElementsAre(1, 2));
  calls.Refuse(absl::UnavailableError("once"));
  EXPECT_THAT(refused, SizeIs(2));
}

TEST(PostgresCalls, RefusesAtOnceWhenItHasStopped) {
  int woken = 0;
  PostgresCalls calls([&] { ++woken; });
  int refused = 0;
  const auto note = [&refused](absl::StatusOr<CallBudget::Answer> answer) {
    EXPECT_EQ(answer.status().code(), absl::StatusCode::kUnavailable);
    ++refused;
  };
  calls.Ask(1, note);
  calls.Stop();
  EXPECT_EQ(refused, 1);
  calls.Ask(1, note);
  EXPECT_EQ(refused, 2);
  EXPECT_EQ(woken, 1);
}

TEST(PostgresCalls, ShowsPicturesToTheLatestListenerAlone) {
  PostgresCalls calls([] {});
  int first = 0, second = 0;
  calls.Show({});
  calls.Follow([&](const CallBudget::Picture&) { ++first; });
  calls.Show({});
  calls.Follow([&](const CallBudget::Picture&) { ++second; });
  calls.Show({});
  calls.Follow(nullptr);
  calls.Show({});
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 1);
}

// On a database: what two gateways share.
class PostgresCallsTest : public PreparedDatabase {
 protected:
  void SetUp() override {
    PreparedDatabase::SetUp();
    if (connection_ == nullptr) return;
    const absl::Time sent = SteadyNow();
    const PgRows now = PreparedDatabase::Ask(
        {"SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint"});
    clock_.Note(sent, SteadyNow(), absl::FromUnixNanos(now.Number(0, 0)));
  }
  void Allow(int calls_per_minute) { AskAll(PostgresCalls::LimitQueries(calls_per_minute)); }
  CallBudget::Answer Ask(PostgresCalls& calls, int kind) {
    CallBudget::Answer told;
    calls.Ask(kind, [&told](absl::StatusOr<CallBudget::Answer> answer) {
      ASSERT_TRUE(answer.ok()) << answer.status();
      told = *std::move(answer);
    });
    const PgError error = calls.Run(*connection_, clock_, absl::Seconds(30));
    EXPECT_TRUE(error.ok()) << error.message;
    return told;
  }

  DatabaseClock clock_;
  PostgresCalls calls_{[] {}};
  PostgresCalls others_{[] {}};
};

TEST_F(PostgresCallsTest, AllTogetherAreGrantedWhatTheAccountAllows) {
  Allow(2);
  const auto first = Ask(calls_, 3);
  ASSERT_TRUE(first.granted.has_value());
  EXPECT_THAT(first.picture.calls, SizeIs(1));
  const auto second = Ask(others_, 4);
  ASSERT_TRUE(second.granted.has_value());
  EXPECT_NE(*first.granted, *second.granted);
  const auto third = Ask(calls_, 5);
  EXPECT_FALSE(third.granted.has_value());
  // Both are seen, whoever made them, oldest first.
  ASSERT_THAT(third.picture.calls, SizeIs(2));
  EXPECT_EQ(third.picture.calls[0].id, *first.granted);
  EXPECT_EQ(third.picture.calls[0].kind, 3);
  EXPECT_EQ(third.picture.calls[1].id, *second.granted);
  EXPECT_EQ(third.picture.calls[1].kind, 4);
}

TEST_F(PostgresCallsTest, ALimitMayBeRaisedAndLowered) {
  Allow(1);
  EXPECT_TRUE(Ask(calls_, 1).granted.has_value());
  EXPECT_FALSE(Ask(calls_, 1).granted.has_value());
  Allow(2);
  EXPECT_TRUE(Ask(calls_, 1).granted.has_value());
  Allow(1);
  EXPECT_FALSE(Ask(calls_, 1).granted.has_value());
}

TEST_F(PostgresCallsTest, CallsThatTheServerHasLostAreCountedAgain) {
  Allow(4);
  ASSERT_TRUE(Ask(calls_, 1).granted.has_value());
  ASSERT_TRUE(Ask(others_, 2).granted.has_value());
  ASSERT_TRUE(Ask(calls_, 3).granted.has_value());
  // A failover lost them, and somebody comes first who has none to bring back.
  Execute("UPDATE finetune.upstream_calls SET at = 0, kind = 0");
  PostgresCalls third([] {});
  ASSERT_TRUE(Ask(third, 4).granted.has_value());
  // A second time there is nothing to do.
  for (int times = 0; times < 2; ++times) {
    for (PostgresCalls* calls : {&calls_, &others_, &third}) {
      calls->OnConnected();
      EXPECT_TRUE(calls->Run(*connection_, clock_, absl::Seconds(30)).ok());
    }
  }
  EXPECT_FALSE(Ask(calls_, 5).granted.has_value()) << "four were made within this minute";
  std::vector<int> kinds;
  for (const auto& call : Ask(third, 5).picture.calls) kinds.push_back(call.kind);
  EXPECT_THAT(kinds, UnorderedElementsAre(1, 2, 3, 4));
}

TEST_F(PostgresCallsTest, WhatIsNotLostIsCountedOnce) {
  Allow(3);
  ASSERT_TRUE(Ask(calls_, 1).granted.has_value());
  calls_.OnConnected();
  EXPECT_TRUE(Ask(calls_, 2).granted.has_value());
  calls_.OnConnected();
  EXPECT_TRUE(Ask(others_, 3).granted.has_value());
  EXPECT_FALSE(Ask(calls_, 4).granted.has_value());
}

TEST_F(PostgresCallsTest, NobodyIsGrantedACallWhileTheAccountIsHeld) {
  Allow(5);
  const absl::Time until = SteadyNow() + absl::Hours(1);
  calls_.HoldUntil(until);
  calls_.HoldUntil(SteadyNow() + absl::Minutes(1));  // No shorter for that.
  EXPECT_FALSE(Ask(calls_, 1).granted.has_value());
  const auto other = Ask(others_, 1);
  EXPECT_FALSE(other.granted.has_value());
  EXPECT_GE(other.picture.hold_until, until - absl::Seconds(1));
}

TEST_F(PostgresCallsTest, WhatCannotBeAskedIsRefusedAndAHoldIsKeptForLater) {
  Allow(5);
  Execute("ALTER TABLE finetune.upstream_hold RENAME TO elsewhere");
  calls_.HoldUntil(SteadyNow() + absl::Hours(1));
  absl::Status refused;
  calls_.Ask(1, [&](absl::StatusOr<CallBudget::Answer> answer) { refused = answer.status(); });
  EXPECT_FALSE(calls_.Run(*connection_, clock_, absl::Seconds(30)).ok());
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  Execute("ALTER TABLE finetune.elsewhere RENAME TO upstream_hold");
  EXPECT_FALSE(Ask(calls_, 1).granted.has_value());
}

}  // namespace
}  // namespace finetune
