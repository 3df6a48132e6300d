// Several gateways on one database, as far as the store goes.
#include "server/store/postgres_feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/error.h"
#include "server/store/postgres_store.h"
#include "tests/store/postgres_server.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

class PostgresFeedTest : public DatabaseTest {
 protected:
  // One gateway, with what it knows.
  struct Gateway {
    std::unique_ptr<Store> store;
    StorePoint point;
    StoreState state;
    Mutex mu;
    CondVar changed;
    int wakes ABSL_GUARDED_BY(mu) = 0;

    int Wakes() {
      MutexLock lock(mu);
      return wakes;
    }
    // Whether it is woken once more within that time.
    bool IsWokenBeyond(int count, absl::Duration patience = absl::Seconds(10)) {
      const absl::Time until = SteadyNow() + patience;
      MutexLock lock(mu);
      while (wakes <= count && SteadyNow() < until) changed.WaitFor(mu, until - SteadyNow());
      return wakes > count;
    }
    void TakeIn(const StoreNews& news) { point = news.point; }
    absl::StatusOr<StoreNews> Read() {
      auto news = store->Read(point);
      if (news.ok() && !news->must_load) TakeIn(*news);
      return news;
    }
    absl::Status Commit(StoreBatch batch) {
      auto news = store->Begin(point, {});
      if (!news.ok()) return news.status();
      if (news->must_load || news->is_behind) return absl::AbortedError("behind");
      TakeIn(*news);
      for (StoredChange& change : batch.changes) change.revision += point.revision;
      const size_t changes = batch.changes.size();
      const CommitOutcome outcome = store->Commit(batch);
      if (outcome.why.ok()) {
        ++point.seq;
        point.revision += changes;
      }
      return outcome.why;
    }
  };

  PostgresOptions Options() {
    return {.target = {.url = server_.Url("record")},
            .lock_patience = absl::Milliseconds(100),
            .name = "pod",
            .poll_interval = poll_interval_,
            .lease = lease_};
  }
  std::unique_ptr<Gateway> Start() {
    auto gateway = std::make_unique<Gateway>();
    auto opened = OpenPostgresStore(Options());
    EXPECT_TRUE(opened.ok()) << opened.status();
    gateway->store = *std::move(opened);
    auto state = gateway->store->Load();
    EXPECT_TRUE(state.ok()) << state.status();
    gateway->state = *std::move(state);
    gateway->point = gateway->state.point;
    gateway->store->Follow([gateway = gateway.get()] {
      MutexLock lock(gateway->mu);
      ++gateway->wakes;
      gateway->changed.NotifyAll();
    });
    return gateway;
  }
  static StoreBatch Jobs(int first, int count) {
    StoreBatch batch;
    for (int i = 0; i < count; ++i) {
      batch.changes.push_back({static_cast<uint64_t>(i) + 1, absl::FromUnixSeconds(9),
                               absl::StrCat("j", first + i), absl::StrCat("bytes", first + i), ""});
    }
    return batch;
  }

  absl::Duration poll_interval_ = absl::Seconds(1);
  absl::Duration lease_ = absl::Seconds(8);
};

TEST_F(PostgresFeedTest, OthersAreToldOfACommitAndReadIt) {
  poll_interval_ = absl::Hours(1);
  auto a = Start(), b = Start();
  EXPECT_EQ(a->state.epoch, b->state.epoch);
  EXPECT_EQ(a->state.point.era, b->state.point.era) << "a start beside one that lives";
  // Until both listen.
  ASSERT_TRUE(a->Commit(Jobs(0, 1)).ok());
  while (!b->IsWokenBeyond(0, absl::Milliseconds(50))) ASSERT_TRUE(a->Commit(Jobs(1, 0)).ok());
  ASSERT_TRUE(b->Read().ok());
  const int wakes = b->Wakes(), own = a->Wakes();
  ASSERT_TRUE(a->Commit(Jobs(1, 2)).ok());
  ASSERT_TRUE(b->IsWokenBeyond(wakes));
  auto news = b->Read();
  ASSERT_TRUE(news.ok()) << news.status();
  ASSERT_EQ(news->changes.size(), 2u);
  EXPECT_EQ(news->changes[1].fine_tune_id, "j2");
  EXPECT_EQ(b->point, a->point);
  EXPECT_THAT(news->members->live,
              UnorderedElementsAre(a->store->membership().id(), b->store->membership().id()));
  EXPECT_LT(absl::AbsDuration(news->clock->time - WallNow()), absl::Seconds(5));
  EXPECT_EQ(a->Wakes(), own) << "its own commits are no news";
}

TEST_F(PostgresFeedTest, ALostNotificationIsMadeUpForByALook) {
  poll_interval_ = absl::Milliseconds(20);
  auto a = Start();
  const int wakes = a->Wakes();
  // Without a notification.
  ASSERT_EQ(server_.Execute("record",
                            "UPDATE finetune.meta SET seq = seq + 1, ledger_seq = ledger_seq + 1"),
            "");
  EXPECT_TRUE(a->IsWokenBeyond(wakes));
}

TEST_F(PostgresFeedTest, ManyChangesAreReadOutsideTheTurn) {
  auto a = Start(), b = Start();
  ASSERT_TRUE(a->Commit(Jobs(0, 500)).ok());
  EXPECT_TRUE(absl::IsAborted(b->Commit(Jobs(500, 1))));
  // The turn was given back.
  ASSERT_TRUE(a->Commit(Jobs(500, 1)).ok());
  auto news = b->Read();
  ASSERT_TRUE(news.ok()) << news.status();
  EXPECT_EQ(news->changes.size(), 501u);
  EXPECT_TRUE(b->Commit(Jobs(600, 1)).ok());
  // What is no longer kept cannot be told.
  StoreBatch forgetting = Jobs(700, 1);
  forgetting.forget_changes_through = 300;
  ASSERT_TRUE(b->Commit(forgetting).ok());
  auto late = Start();
  late->point = {.era = late->point.era, .seq = 0, .revision = 0};
  EXPECT_TRUE(late->store->Read(late->point)->must_load);
}

TEST_F(PostgresFeedTest, GatewaysAndWhoeverMovesTheRecordKeepEachOtherOut) {
  const auto move = [&] {
    return PostgresSession::Open({.url = server_.Url("record")}, PostgresSession::Use::kAlone,
                                 SteadyNow() + absl::Seconds(5), absl::Milliseconds(100));
  };
  auto a = Start(), b = Start();
  EXPECT_THAT(std::string(move().status().message()),
              testing::HasSubstr("gateways work on the record"));
  a.reset();
  EXPECT_FALSE(move().ok());
  b.reset();
  const auto moving = move();
  ASSERT_TRUE(moving.ok()) << moving.status();
  EXPECT_THAT(std::string(OpenPostgresStore(Options()).status().message()),
              testing::HasSubstr("is being moved"));
}

TEST_F(PostgresFeedTest, AnEraBeginsWhereNobodyLives) {
  auto a = Start();
  const uint64_t era = a->point.era;
  a.reset();
  auto b = Start();
  EXPECT_NE(b->point.era, era) << "it left, so nobody was there";
  auto c = Start();
  EXPECT_EQ(c->point.era, b->point.era);
}

TEST_F(PostgresFeedTest, NothingIsWrittenOnceTheTurnIsLost) {
  auto a = Start(), b = Start();
  ASSERT_TRUE(a->store->Begin(a->point, {}).ok());
  ASSERT_EQ(server_.Execute("record",
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = "
                            "'idle in transaction'"),
            "");
  // This finds another connection, on which there is no turn.
  for (int i = 0; i < 100 && !a->store->FindIntent("c", "r").ok(); ++i) {
  }
  ASSERT_TRUE(a->store->FindIntent("c", "r").ok());
  ASSERT_TRUE(b->Commit(Jobs(0, 1)).ok());
  StoreBatch batch = Jobs(1, 1);
  batch.changes[0].revision = a->point.revision + 1;
  EXPECT_EQ(a->store->Commit(batch).kind, CommitOutcome::Kind::kNotWritten);
  auto news = a->Read();
  ASSERT_TRUE(news.ok()) << news.status();
  ASSERT_EQ(news->changes.size(), 1u);
  EXPECT_EQ(news->changes[0].fine_tune_id, "j0");
}

TEST_F(PostgresFeedTest, WhoseTimeHasRunOutIsTakenOverFrom) {
  lease_ = absl::Milliseconds(1'200);
  poll_interval_ = absl::Milliseconds(50);
  auto a = Start(), b = Start();
  const std::string me = a->store->membership().id();
  // Past an era's youth, in which nobody is taken for gone.
  absl::Time until = SteadyNow() + lease_;
  while (SteadyNow() < until) b->IsWokenBeyond(1 << 30, absl::Milliseconds(50));
  EXPECT_TRUE(a->store->membership().Holds(me, SteadyNow())) << "its signs of life arrive";
  ASSERT_EQ(
      server_.Execute("record", "UPDATE finetune.members SET expires = 1 WHERE id = '" + me + "'"),
      "");
  auto news = b->store->Begin(b->point, {});
  ASSERT_TRUE(news.ok()) << news.status();
  b->TakeIn(*news);
  // A sign of life may have come in between.
  StoreBatch batch;
  batch.ended_members = {me};
  ASSERT_TRUE(b->store->Commit(batch).why.ok());
  ++b->point.seq;
  // It notices, and comes back under another name.
  absl::Status committed = absl::UnknownError("");
  for (int i = 0; i < 100 && !committed.ok(); ++i) committed = a->Commit(Jobs(0, 1));
  ASSERT_TRUE(committed.ok()) << committed;
  EXPECT_NE(a->store->membership().id(), me);
  EXPECT_TRUE(a->store->membership().IsMine(me));
  EXPECT_FALSE(a->store->membership().Holds(me, SteadyNow()));
  EXPECT_TRUE(a->store->membership().Holds(a->store->membership().id(), SteadyNow()));
  EXPECT_THAT(b->Read()->members->ended, ElementsAre());
}

TEST_F(PostgresFeedTest, WithoutTheDatabaseWritersHearSoAtOnceAndAllHeals) {
  auto a = Start();
  server_.Stop(SIGQUIT);
  EXPECT_EQ(ReasonOf(a->Commit(Jobs(0, 1))), pb::ErrorReason::STORE_UNAVAILABLE);
  EXPECT_FALSE(a->Commit(Jobs(0, 1)).ok());
  const absl::Time began = SteadyNow();
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(a->Commit(Jobs(0, 1)).ok());
  EXPECT_LT(SteadyNow() - began, absl::Seconds(1));
  const int wakes = a->Wakes();
  server_.Start();
  EXPECT_TRUE(a->IsWokenBeyond(wakes)) << "without that anybody asked";
  auto news = a->Read();
  ASSERT_TRUE(news.ok()) << news.status();
  EXPECT_NE(news->point.era, a->state.point.era);
  EXPECT_FALSE(news->must_load) << "nothing was lost";
}

}  // namespace
}  // namespace finetune
