#include "server/jobs/watching/watcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/error.h"
#include "server/jobs/watching/watch_shard.h"
#include "tests/jobs/watching/one_shard.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// What a stream is told to do; a write is under way until the test says that it is done.
struct Stream : WatchSink {
  void Write(const grpc::ByteBuffer& message) override {
    EXPECT_FALSE(writing) << "two writes at once";
    EXPECT_FALSE(finished) << "a write after Finish";
    writing = true;
    news.push_back(Summary(Decode(message)));
  }
  void Finish(absl::Status status) override {
    EXPECT_FALSE(writing) << "Finish while a write is under way";
    EXPECT_FALSE(finished) << "Finish twice";
    finished = std::move(status);
  }
  void Abort() override { ++aborts; }

  std::vector<std::string> News() { return std::exchange(news, {}); }

  std::vector<std::string> news;
  bool writing = false;
  int aborts = 0;
  std::optional<absl::Status> finished;
};

// A watcher on this thread alone: its shard has none, and the test is its shard's thread.
class ShardWatcherTest : public OneShardTest {
 protected:
  ~ShardWatcherTest() override {
    if (watcher_ != nullptr && !stream_.finished) {
      watcher_->Cancel();
      if (stream_.writing) Written(false);
      EXPECT_TRUE(stream_.finished);
    }
    EXPECT_EQ(context_->count(), 0);
    shard_->Stop();
    context_->walks.Stop();
  }
  absl::Status Start(WatchSpec spec) {
    watcher_ = std::make_shared<ShardWatcher>(std::move(spec), &stream_, context_, shard_);
    EXPECT_TRUE(context_->Admit().ok());
    const absl::Status status = watcher_->Start();
    if (!status.ok()) {
      context_->Leave();
      watcher_ = nullptr;
    }
    return status;
  }
  void Written(bool ok = true) {
    ASSERT_TRUE(stream_.writing);
    stream_.writing = false;
    watcher_->OnWriteDone(ok);
  }
  void ReadAll() {
    while (stream_.writing) Written();
  }
  // Commits a change and has it delivered.
  void Put(const std::string& id, pb::FineTune::State state) { Deliver(world_.Put(id, state)); }
  void Deliver(uint64_t revision) {
    const ChangePtr change = (*world_.catalog.ChangesAfter(revision - 1, 1))[0];
    DeliveryTally tally(context_->metrics);
    watcher_->Deliver(change, MatchOf(*watcher_->spec().filter, *change), tally);
  }
  std::optional<absl::Time> Advance(absl::Duration by) {
    clock_.Advance(by);
    DeliveryTally tally(context_->metrics);
    return watcher_->OnTimer(clock_.Now(), tally);
  }

  Stream stream_;
  std::shared_ptr<ShardWatcher> watcher_;
};

TEST_F(ShardWatcherTest, WritesOneMessageAtATimeInOrder) {
  world_.Put("a", kQueued);
  world_.Put("b", kQueued);
  ASSERT_TRUE(Start(Spec()).ok());
  EXPECT_THAT(stream_.News(), ElementsAre("SNAPSHOT a@1"));
  Put("a", kTraining);
  EXPECT_THAT(stream_.News(), IsEmpty());
  Written();
  EXPECT_THAT(stream_.News(), ElementsAre("SNAPSHOT b@2"));
  Written();
  EXPECT_THAT(stream_.News(), ElementsAre("SYNCED@2"));
  Written();
  EXPECT_THAT(stream_.News(), ElementsAre("UPDATED a@3"));
  Written();
  EXPECT_FALSE(stream_.writing);
  Put("a", kFailed);
  EXPECT_THAT(stream_.News(), ElementsAre("UPDATED a@4"));
}

TEST_F(ShardWatcherTest, SaysNothingTwiceThatItsSnapshotHas) {
  const uint64_t revision = world_.Put("a", kQueued);
  ASSERT_TRUE(Start(Spec()).ok());
  Deliver(revision);
  ReadAll();
  EXPECT_THAT(stream_.News(), ElementsAre("SNAPSHOT a@1", "SYNCED@1"));
}

TEST_F(ShardWatcherTest, ASlowOneIsToldTheLatestOrEachAsItAsked) {
  for (const bool every : {false, true}) {
    WatchSpec spec = Spec();
    spec.every = every;
    spec.skip_snapshot = true;
    ASSERT_TRUE(Start(spec).ok());
    stream_.News();
    Put("a", kQueued);
    Put("a", kTraining);
    Put("a", kFailed);
    ReadAll();
    EXPECT_EQ(stream_.News().size(), every ? 3u : 1u);
    watcher_->Cancel();
    ASSERT_TRUE(stream_.finished);
    stream_.finished.reset();
    watcher_ = nullptr;
  }
}

TEST_F(ShardWatcherTest, SendsAHeartbeatOnlyWhereNothingElseWasSent) {
  WatchSpec spec = Spec();
  spec.heartbeat_interval = absl::Seconds(10);
  ASSERT_TRUE(Start(spec).ok());
  // While a write is under way there is no room for one.
  const auto again = Advance(absl::Seconds(11));
  ASSERT_TRUE(again);
  EXPECT_GT(*again, clock_.Now());
  ReadAll();
  EXPECT_THAT(stream_.News(), ElementsAre("SYNCED@0"));
  Advance(absl::Seconds(5));
  EXPECT_THAT(stream_.News(), ElementsAre("HEARTBEAT@0"));
  ReadAll();
  Advance(absl::Seconds(9));
  EXPECT_THAT(stream_.News(), IsEmpty());
}

TEST_F(ShardWatcherTest, EndsInItsTimeWithAFarewell) {
  ASSERT_TRUE(Start(Spec()).ok());
  ReadAll();
  stream_.News();
  watcher_->EndAt(clock_.Now() + absl::Seconds(1), clock_.Now() + absl::Seconds(5));
  Advance(absl::Seconds(1));
  EXPECT_THAT(stream_.News(), ElementsAre("HEARTBEAT@0"));
  EXPECT_FALSE(stream_.finished);
  Written();
  ASSERT_TRUE(stream_.finished);
  EXPECT_EQ(ReasonOf(*stream_.finished), pb::ErrorReason::SERVER_DRAINING);
  EXPECT_EQ(Advance(absl::Hours(1)), std::nullopt);
}

TEST_F(ShardWatcherTest, EndsByForceWhoDoesNotRead) {
  ASSERT_TRUE(Start(Spec()).ok());
  watcher_->EndAt(clock_.Now() + absl::Seconds(1), clock_.Now() + absl::Seconds(5));
  Advance(absl::Seconds(2));
  EXPECT_EQ(stream_.aborts, 0);
  Advance(absl::Seconds(3));
  EXPECT_EQ(stream_.aborts, 1);
  EXPECT_FALSE(stream_.finished);
  Written(false);
  ASSERT_TRUE(stream_.finished);
}

TEST_F(ShardWatcherTest, AWriteThatFailsEndsItOnce) {
  ASSERT_TRUE(Start(Spec()).ok());
  Put("a", kQueued);
  watcher_->Cancel();
  EXPECT_FALSE(stream_.finished) << "the write comes first";
  Written(false);
  ASSERT_TRUE(stream_.finished);
  EXPECT_TRUE(absl::IsCancelled(*stream_.finished));
  Put("a", kTraining);
  watcher_->Cancel();
  watcher_->End(absl::UnavailableError("late"));
}

TEST_F(ShardWatcherTest, EndsWithWhatTheServerSays) {
  ASSERT_TRUE(Start(Spec()).ok());
  watcher_->End(absl::PermissionDeniedError("revoked"));
  EXPECT_FALSE(stream_.finished);
  Written();
  ASSERT_TRUE(stream_.finished);
  EXPECT_TRUE(absl::IsPermissionDenied(*stream_.finished));
}

TEST_F(ShardWatcherTest, StartsOverAtAGapUnlessThatIsAFailure) {
  world_.Put("a", kQueued);
  WatchSpec spec = Spec();
  spec.resume = ResumePoint{"of another history", 1, 1};
  spec.fail_on_gap = true;
  const absl::Status refused = Start(spec);
  EXPECT_EQ(ReasonOf(refused), pb::ErrorReason::RESUME_TOKEN_EXPIRED);
  EXPECT_THAT(stream_.News(), IsEmpty());
  spec.fail_on_gap = false;
  ASSERT_TRUE(Start(spec).ok());
  ReadAll();
  EXPECT_THAT(stream_.News(), ElementsAre("RESET OTHER_HISTORY", "SNAPSHOT a@1", "SYNCED@1"));
}

}  // namespace
}  // namespace finetune
