#include "server/jobs/watching/watch_shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/error.h"
#include "tests/jobs/watching/one_shard.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A client that reads each message at once, on whatever thread it is written.
class Reader : public WatchSink {
 public:
  void Write(const grpc::ByteBuffer& message) override {
    MutexLock lock(mu_);
    news_.push_back(Summary(Decode(message)));
    writing_ = true;
  }
  void Finish(absl::Status status) override {
    MutexLock lock(mu_);
    finished_ = std::move(status);
  }
  void Abort() override {}

  bool TakeWrite() {
    MutexLock lock(mu_);
    return std::exchange(writing_, false);
  }
  std::vector<std::string> News() {
    MutexLock lock(mu_);
    return std::exchange(news_, {});
  }
  std::optional<absl::Status> finished() const {
    MutexLock lock(mu_);
    return finished_;
  }

 private:
  mutable Mutex mu_;
  std::vector<std::string> news_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> finished_ ABSL_GUARDED_BY(mu_);
};

// A shard with a thread of its own, and what it is given by hand.
class WatchShardTest : public OneShardTest {
 protected:
  struct Client {
    Reader reader;
    std::shared_ptr<ShardWatcher> watcher;
  };

  ~WatchShardTest() override {
    shard_->Stop();
    for (const auto& client : clients_) {
      while (client->reader.TakeWrite()) client->watcher->OnWriteDone(true);
      EXPECT_TRUE(client->reader.finished().has_value());
    }
    EXPECT_EQ(context_->count(), 0);
    context_->walks.Stop();
  }
  Client& Join(std::string_view filter = "") {
    Client& client = *clients_.emplace_back(std::make_unique<Client>());
    client.watcher = std::make_shared<ShardWatcher>(Spec(filter), &client.reader, context_, shard_);
    EXPECT_TRUE(context_->Admit().ok());
    EXPECT_TRUE(client.watcher->Start().ok());
    Read(client);
    return client;
  }
  // All that it has been told, read to the end.
  std::vector<std::string> Read(Client& client) {
    shard_->AwaitIdle();
    while (client.reader.TakeWrite()) client.watcher->OnWriteDone(true);
    return client.reader.News();
  }
  void Put(const std::string& id, pb::FineTune::State state, const std::string& creator = "") {
    const uint64_t revision = world_.Put(id, state, creator);
    shard_->Enqueue({(*world_.catalog.ChangesAfter(revision - 1, 1))[0]});
  }
  void Advance(absl::Duration by) {
    clock_.Advance(by);
    shard_->AwaitIdle();
  }

  std::vector<std::unique_ptr<Client>> clients_;
};

TEST_F(WatchShardTest, TellsEachWatcherWhatConcernsItInOrder) {
  shard_->Start();
  Client& all = Join();
  Client& bobs = Join("creator = bob");
  Put("a", kQueued, "alice");
  Put("b", kQueued, "bob");
  Put("a", kTraining, "alice");
  EXPECT_THAT(Read(all), ElementsAre("CREATED a@1", "CREATED b@2", "UPDATED a@3"));
  EXPECT_THAT(Read(bobs), ElementsAre("CREATED b@2"));
}

TEST_F(WatchShardTest, WhatCameBeforeItsThreadIsToldWhenThatStarts) {
  Client& client = Join();
  Put("a", kQueued);
  EXPECT_THAT(client.reader.News(), IsEmpty());
  shard_->Start();
  EXPECT_THAT(Read(client), ElementsAre("CREATED a@1"));
}

TEST_F(WatchShardTest, OneThatWasRemovedIsToldNothingMore) {
  shard_->Start();
  Client& client = Join();
  client.watcher->Cancel();
  EXPECT_TRUE(client.reader.finished().has_value());
  Put("a", kQueued);
  EXPECT_THAT(Read(client), IsEmpty());
  shard_->Remove(*client.watcher);  // Not there any more.
}

TEST_F(WatchShardTest, AHeartbeatSaysHowFarTheShardIsAndIsMadeOnce) {
  shard_->Start();
  Join();
  Put("a", kQueued);
  shard_->AwaitIdle();
  EXPECT_EQ(Summary(Decode(shard_->Heartbeat(0))), "HEARTBEAT@1");
  // A watcher that joined later knows more than the shard has dispatched.
  EXPECT_EQ(Summary(Decode(shard_->Heartbeat(7))), "HEARTBEAT@7");
  EXPECT_EQ(Summary(Decode(shard_->Heartbeat(0))), "HEARTBEAT@1");
}

TEST_F(WatchShardTest, EndsAllWithinTheTimeThatItIsGiven) {
  shard_->Start();
  for (int i = 0; i < 20; ++i) Join();
  shard_->EndAll(absl::Seconds(10), absl::Seconds(5));
  Advance(absl::Seconds(11));
  for (const auto& client : clients_) {
    while (client->reader.TakeWrite()) client->watcher->OnWriteDone(true);
    ASSERT_TRUE(client->reader.finished().has_value());
    EXPECT_EQ(ReasonOf(*client->reader.finished()), pb::ErrorReason::SERVER_DRAINING);
  }
}

TEST_F(WatchShardTest, OneThatJoinsWhileAllAreEndedEndsAtOnce) {
  shard_->Start();
  Client& before = Join();
  shard_->EndIfLate(before.watcher);
  Read(before);
  EXPECT_FALSE(before.reader.finished().has_value());
  shard_->EndAll(absl::Hours(1), absl::Hours(1));
  Client& late = Join();
  shard_->EndIfLate(late.watcher);
  Advance(absl::Milliseconds(20));
  Read(late);
  EXPECT_TRUE(late.reader.finished().has_value());
}

TEST_F(WatchShardTest, AStopEndsThoseThatAreLeftAndTakesNothingMore) {
  shard_->Start();
  Client& client = Join();
  shard_->Stop();
  Read(client);
  ASSERT_TRUE(client.reader.finished().has_value());
  EXPECT_EQ(ReasonOf(*client.reader.finished()), pb::ErrorReason::SERVER_DRAINING);
  Put("a", kQueued);
  EXPECT_THAT(client.reader.News(), IsEmpty());
  shard_->Stop();
}

TEST_F(WatchShardTest, OnlyThoseFromBeforeAReloadAreOutdated) {
  shard_->Start();
  Client& before = Join();
  context_->NextReload();
  Client& after = Join();
  shard_->EndOutdated();
  Read(before);
  Read(after);
  EXPECT_TRUE(before.reader.finished().has_value());
  EXPECT_FALSE(after.reader.finished().has_value());
}

}  // namespace
}  // namespace finetune
