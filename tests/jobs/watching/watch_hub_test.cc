#include "server/jobs/watching/watch_hub.h"

#include <atomic>
#include <future>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/jobs/watching/watch_snapshot.h"
#include "tests/jobs/watching/watch_world.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr auto kQueued = pb::FineTune::QUEUED;
constexpr auto kTraining = pb::FineTune::TRAINING;
constexpr auto kAvailable = pb::FineTune::AVAILABLE;
constexpr auto kFailed = pb::FineTune::FAILED;

class WatchHubTest : public testing::Test {
 protected:
  void Open(WatchHub::Options options = {}, Catalog::Options catalog_options = {}) {
    world_ = nullptr;
    world_ = std::make_unique<WatchWorld>(store_, clock_, options, catalog_options);
  }
  ~WatchHubTest() override {
    // Streams end before the hub does.
    world_ = nullptr;
  }

  WatchWorld& world() {
    if (world_ == nullptr) Open();
    return *world_;
  }
  WatchSpec Spec(std::string_view filter = "") {
    WatchSpec spec;
    spec.filter = *Filter::Parse(filter);
    return spec;
  }
  WatchSpec Resume(const std::string& token) {
    WatchSpec spec = Spec();
    spec.resume = *DecodeResumeToken(token);
    return spec;
  }
  // What a client is sent that reads all.
  std::vector<std::string> Read(WatchClient& client) {
    world().hub.AwaitIdle();
    client.ReadAll();
    world().hub.AwaitIdle();
    return Summaries(client.News());
  }
  void Advance(absl::Duration by) {
    clock_.Advance(by);
    world().hub.AwaitIdle();
  }
  double MetricOf(const std::string& name) {
    double sum = 0;
    for (const auto& family : world().metrics.registry()->Collect()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) {
        sum += metric.gauge.value + metric.counter.value +
               static_cast<double>(metric.histogram.sample_count);
      }
    }
    return sum;
  }

  WatchMemoryStore store_;
  ManualClock clock_;
  std::unique_ptr<WatchWorld> world_;
};

TEST_F(WatchHubTest, SendsTheJobsByRevisionThenSyncedThenChanges) {
  world().Put("a", kQueued);
  world().Put("b", kQueued);
  world().Put("a", kTraining);
  WatchClient client;
  ASSERT_TRUE(client.Start(world().hub, Spec()).ok());
  EXPECT_THAT(Read(client), ElementsAre("SNAPSHOT b@2", "SNAPSHOT a@3", "SYNCED@3"));
  world().Put("c", kQueued);
  world().Put("c", kTraining);
  EXPECT_THAT(Read(client), ElementsAre("CREATED c@4", "UPDATED c@5"));
  EXPECT_EQ(client.messages()[0].resume_token(), "");
  EXPECT_EQ(DecodeResumeToken(client.messages()[2].resume_token())->revision, 3);
  EXPECT_EQ(DecodeResumeToken(client.messages()[4].resume_token())->revision, 5);
  client.Cancel();
  EXPECT_TRUE(absl::IsCancelled(*client.finished()));
  EXPECT_EQ(world().hub.watcher_count(), 0);
}

TEST_F(WatchHubTest, CallersTakeTurnsWhereSnapshotsTakeLong) {
  constexpr int kJobs = 2'000, kHostile = 60;
  ASSERT_TRUE(world()
                  .Commit([&](Draft& draft) {
                    for (int i = 0; i < kJobs; ++i)
                      draft.Put(WatchWorld::RecordOf(absl::StrCat("job", i), kQueued, "x"));
                  })
                  .ok());
  // Which matches none, and takes as long as it can.
  std::string filter = "theme = a";
  for (int i = 0; i < 96; ++i) absl::StrAppend(&filter, " OR theme = a", i);
  const auto caller = [&](const char* name) {
    WatchSpec spec = Spec(filter);
    spec.sharer = std::make_shared<Sharer>(name);
    return spec;
  };
  const WatchSpec hostile = caller("mallory");
  std::vector<std::unique_ptr<WatchClient>> many;
  for (int i = 0; i < kHostile; ++i) {
    many.push_back(std::make_unique<WatchClient>());
    ASSERT_TRUE(many.back()->Start(world().hub, hostile).ok());
  }
  WatchClient other;
  ASSERT_TRUE(other.Start(world().hub, caller("alice")).ok());
  // Changes come meanwhile.
  WatchClient live;
  WatchSpec skipped = Spec();
  skipped.skip_snapshot = true;
  ASSERT_TRUE(live.Start(world().hub, skipped).ok());
  live.ReadAll();
  world().Put("job1", kTraining);
  while (live.messages().size() < 2) live.ReadAll();
  while (!other.writing()) std::this_thread::yield();
  const auto synced =
      std::count_if(many.begin(), many.end(), [](auto& one) { return one->writing(); });
  EXPECT_LT(synced, kHostile / 2);
  other.ReadAll();
  EXPECT_THAT(Summaries(other.messages()), ElementsAre("SYNCED@2000"));
  for (auto& one : many) one->Break();
  other.Break();
  live.Break();
}

TEST_F(WatchHubTest, ClientsThatDoNotReadKeepLittleOfThePast) {
  world().Put("a", kQueued);
  std::vector<std::weak_ptr<const CatalogView>> past;
  std::vector<std::unique_ptr<WatchClient>> deaf;
  for (size_t i = 0; i < 2 * WatchSnapshots::kKept; ++i) {
    world().Put("a", i % 2 == 0 ? kTraining : kQueued);
    past.push_back(world().catalog.view());
    deaf.push_back(std::make_unique<WatchClient>());
    ASSERT_TRUE(deaf.back()->Start(world().hub, Spec()).ok());
    Advance(WatchSnapshots::kStill);
  }
  const auto kept =
      std::count_if(past.begin(), past.end(), [](auto& one) { return !one.expired(); });
  EXPECT_LE(static_cast<size_t>(kept), WatchSnapshots::kKept);
  // Whoever reads after all is told that it starts over.
  const auto news = Read(*deaf.front());
  EXPECT_EQ(news.front(), "SNAPSHOT a@2");
  EXPECT_EQ(news[1], "RESET TOO_SLOW");
  EXPECT_THAT(news.back(), testing::StartsWith("SYNCED@"));
  for (auto& one : deaf) one->Break();
}

TEST_F(WatchHubTest, SendsSyncedAloneToWhoSkipsTheSnapshot) {
  world().Put("a", kQueued);
  WatchClient client;
  WatchSpec spec = Spec();
  spec.skip_snapshot = true;
  ASSERT_TRUE(client.Start(world().hub, spec).ok());
  EXPECT_THAT(Read(client), ElementsAre("SYNCED@1"));
  world().Put("a", kTraining);
  EXPECT_THAT(Read(client), ElementsAre("UPDATED a@2"));
  client.Cancel();
}

TEST_F(WatchHubTest, TellsWhenAJobEntersAndLeavesAFilter) {
  world().Put("a", kQueued, "x");
  WatchClient client;
  ASSERT_TRUE(client.Start(world().hub, Spec("state = TRAINING")).ok());
  EXPECT_THAT(Read(client), ElementsAre("SYNCED@1"));
  world().Put("a", kTraining, "x");
  world().Put("b", kTraining, "x");
  world().Put("c", kQueued, "x");
  world().Put("a", kAvailable, "x");
  world().Put("a", kFailed, "x");
  EXPECT_THAT(Read(client), ElementsAre("UPDATED a@2", "CREATED b@3", "LEFT_FILTER a@5"));
  client.Cancel();
}

TEST_F(WatchHubTest, FollowsOnlyTheNamedJobsAndThoseOnlyWhileTheyMatch) {
  world().Put("a", kQueued);
  world().Put("b", kQueued);
  WatchClient named;
  WatchSpec spec = Spec();
  spec.ids = {"a", "a"};
  ASSERT_TRUE(named.Start(world().hub, spec).ok());
  WatchClient both;
  spec.filter = *Filter::Parse("state = TRAINING");
  ASSERT_TRUE(both.Start(world().hub, spec).ok());
  world().Put("b", kTraining);
  world().Put("a", kTraining);
  world().Put("a", kAvailable);
  EXPECT_THAT(Read(named), ElementsAre("SNAPSHOT a@1", "SYNCED@2", "UPDATED a@5"));
  EXPECT_THAT(Read(both), ElementsAre("SYNCED@2"));  // It came and left while nothing was read.
  world().Put("a", kTraining);
  EXPECT_THAT(Read(both), ElementsAre("UPDATED a@6"));
  named.Break();  // It has yet to read a@6.
  both.Cancel();
}

TEST_F(WatchHubTest, GivesASlowClientTheLatestStateOfEachJob) {
  WatchClient client;
  ASSERT_TRUE(client.Start(world().hub, Spec()).ok());
  world().Put("a", kQueued);
  world().Put("b", kQueued);
  world().Put("a", kTraining);
  world().Put("a", kAvailable);
  EXPECT_THAT(Read(client), ElementsAre("SYNCED@0", "CREATED b@2", "CREATED a@4"));
  client.Cancel();
}

TEST_F(WatchHubTest, GivesEachTransitionWhereEveryIsAsked) {
  WatchClient client;
  WatchSpec spec = Spec();
  spec.every = true;
  ASSERT_TRUE(client.Start(world().hub, spec).ok());
  world().Put("a", kQueued);
  world().Put("a", kTraining);
  world().Put("a", kAvailable);
  EXPECT_THAT(Read(client), ElementsAre("SYNCED@0", "CREATED a@1", "UPDATED a@2", "UPDATED a@3"));
  world().Put("a", kFailed);
  EXPECT_THAT(Read(client), ElementsAre("UPDATED a@4"));
  client.Cancel();
}

TEST_F(WatchHubTest, ResetsWhoIsTooSlowForEveryTransition) {
  Open({}, {.window_changes = 2});
  WatchClient client;
  WatchSpec spec = Spec();
  spec.every = true;
  ASSERT_TRUE(client.Start(world().hub, spec).ok());
  WatchClient strict;
  spec.fail_on_gap = true;
  ASSERT_TRUE(strict.Start(world().hub, spec).ok());
  for (int i = 0; i < 100; ++i) world().Put("a", i % 2 == 0 ? kQueued : kTraining);
  auto told = Read(client);
  ASSERT_EQ(told.size(), 68u);
  EXPECT_EQ(told.front(), "SYNCED@0");
  EXPECT_EQ(told[64], "UPDATED a@64");
  EXPECT_THAT(std::vector<std::string>(told.begin() + 65, told.end()),
              ElementsAre("RESET TOO_SLOW", "SNAPSHOT a@100", "SYNCED@100"));
  EXPECT_EQ(client.messages()[65].resume_token(), "");
  EXPECT_EQ(Read(strict).size(), 65u);
  EXPECT_EQ(ReasonOf(*strict.finished()), pb::ErrorReason::RESUME_TOKEN_EXPIRED);
  EXPECT_EQ(MetricOf("finetune_gateway_watch_resets_total"), 1);
  client.Cancel();
}

TEST_F(WatchHubTest, GivesEachTransitionThoughTheCatalogKeepsNone) {
  Open({}, {.window_changes = 0});
  WatchClient client;
  WatchSpec spec = Spec();
  spec.every = true;
  ASSERT_TRUE(client.Start(world().hub, spec).ok());
  for (auto state : {kQueued, kTraining, kAvailable}) world().Put("a", state);
  EXPECT_THAT(Read(client), ElementsAre("SYNCED@0", "CREATED a@1", "UPDATED a@2", "UPDATED a@3"));
  EXPECT_EQ(MetricOf("grpc_server_msg_sent_total"), 4);
  client.Cancel();
}

TEST_F(WatchHubTest, ResetsAClientThatWouldHaveTooManyJobsToSee) {
  Open({.max_pending = 2});
  WatchClient client;
  ASSERT_TRUE(client.Start(world().hub, Spec()).ok());
  for (const char* id : {"a", "b", "c", "d"}) world().Put(id, kQueued);
  EXPECT_THAT(Read(client),
              ElementsAre("SYNCED@0", "RESET TOO_SLOW", "SNAPSHOT a@1", "SNAPSHOT b@2",
                          "SNAPSHOT c@3", "SNAPSHOT d@4", "SYNCED@4"));
  client.Cancel();
}

TEST_F(WatchHubTest, LetsGoOfASnapshotThatIsNotRead) {
  Open({}, {.window_changes = 2});
  world().Put("a", kQueued);
  world().Put("b", kQueued);
  WatchClient client;
  ASSERT_TRUE(client.Start(world().hub, Spec()).ok());
  std::weak_ptr<const FineTuneVersion> old = world().catalog.Find("b");
  for (int i = 0; i < 3; ++i) world().Put("b", i % 2 == 0 ? kTraining : kQueued);
  world().hub.AwaitIdle();
  EXPECT_FALSE(old.expired());
  Advance(absl::Seconds(15));
  EXPECT_TRUE(old.expired());
  EXPECT_THAT(Read(client), ElementsAre("SNAPSHOT a@1", "RESET TOO_SLOW", "SNAPSHOT a@1",
                                        "SNAPSHOT b@5", "SYNCED@5"));
  client.Cancel();
}

TEST_F(WatchHubTest, ResumesRightAfterTheTokenAndSaysWhenItHasCaughtUp) {
  WatchClient first;
  ASSERT_TRUE(first.Start(world().hub, Spec()).ok());
  world().hub.AwaitIdle();
  first.Read();
  world().Put("a", kQueued);
  world().hub.AwaitIdle();
  first.Cancel();
  first.Read(false);
  EXPECT_TRUE(first.finished());
  const std::string token = first.messages().back().resume_token();
  world().Put("a", kTraining);
  world().Put("b", kQueued);
  world().Put("a", kAvailable);
  Open();  // It holds across a restart.

  WatchClient latest;
  ASSERT_TRUE(latest.Start(world().hub, Resume(token)).ok());
  EXPECT_THAT(Read(latest), ElementsAre("CREATED b@3", "UPDATED a@4", "HEARTBEAT@4"));
  WatchClient every;
  WatchSpec spec = Resume(token);
  spec.every = true;
  ASSERT_TRUE(every.Start(world().hub, spec).ok());
  EXPECT_THAT(Read(every), ElementsAre("UPDATED a@2", "CREATED b@3", "UPDATED a@4", "HEARTBEAT@4"));
  world().Put("b", kTraining);
  EXPECT_THAT(Read(latest), ElementsAre("UPDATED b@5"));
  EXPECT_THAT(Read(every), ElementsAre("UPDATED b@5"));
  latest.Cancel();
  every.Cancel();
}

TEST_F(WatchHubTest, TellsWhoResumesOfAJobThatLeftWhichItMayHave) {
  // The client has `a`, missed that it left and came back, and was told of `b` in between.
  WatchClient first;
  ASSERT_TRUE(first.Start(world().hub, Spec("state = TRAINING")).ok());
  world().hub.AwaitIdle();
  first.Read();
  world().Put("a", kTraining);
  Read(first);
  world().Put("b", kTraining);
  world().hub.AwaitIdle();  // Is being written.
  world().Put("a", kQueued);
  world().Put("c", kTraining);
  world().Put("a", kTraining);
  world().hub.AwaitIdle();
  first.Read();  // c.
  EXPECT_THAT(Summaries(first.News()), ElementsAre("CREATED b@2", "CREATED c@4"));
  const std::string token = first.messages().back().resume_token();
  first.Cancel();
  first.Read(false);
  world().Put("a", kFailed);

  WatchClient second;
  WatchSpec spec = Resume(token);
  spec.filter = *Filter::Parse("state = TRAINING");
  ASSERT_TRUE(second.Start(world().hub, spec).ok());
  EXPECT_THAT(Read(second), ElementsAre("LEFT_FILTER a@6", "HEARTBEAT@6"));
  second.Cancel();
}

TEST_F(WatchHubTest, AnnouncesAGapAndSendsAllAnew) {
  Open({}, {.window_changes = 1});
  for (auto state : {kQueued, kTraining, kAvailable}) world().Put("a", state);
  WatchClient expired;
  const std::string epoch = world().catalog.epoch();
  ASSERT_TRUE(expired.Start(world().hub, Resume(EncodeResumeToken({epoch, 7, 1}))).ok());
  EXPECT_THAT(Read(expired), ElementsAre("RESET EXPIRED", "SNAPSHOT a@3", "SYNCED@3"));
  WatchClient other;
  ASSERT_TRUE(other.Start(world().hub, Resume(EncodeResumeToken({"elsewhere", 7, 3}))).ok());
  EXPECT_THAT(Read(other), ElementsAre("RESET OTHER_HISTORY", "SNAPSHOT a@3", "SYNCED@3"));
  WatchClient ahead;
  WatchSpec spec = Resume(EncodeResumeToken({epoch, 7, 4}));
  spec.skip_snapshot = true;  // Ignored on resume.
  ASSERT_TRUE(ahead.Start(world().hub, spec).ok());
  EXPECT_THAT(Read(ahead), ElementsAre("RESET OTHER_HISTORY", "SNAPSHOT a@3", "SYNCED@3"));
  for (WatchClient* client : {&expired, &other, &ahead}) client->Cancel();
}

TEST_F(WatchHubTest, RefusesAGapWhereThePolicySaysSo) {
  Open({}, {.window_changes = 1});
  for (auto state : {kQueued, kTraining, kAvailable}) world().Put("a", state);
  WatchClient client;
  WatchSpec spec = Resume(EncodeResumeToken({world().catalog.epoch(), 7, 1}));
  spec.fail_on_gap = true;
  const absl::Status status = client.Start(world().hub, spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::RESUME_TOKEN_EXPIRED);
  EXPECT_THAT(client.messages(), IsEmpty());
  EXPECT_FALSE(client.finished());
  EXPECT_EQ(world().hub.watcher_count(), 0);
}

TEST_F(WatchHubTest, SendsAHeartbeatWhenNothingWasSentForTheInterval) {
  WatchClient client;
  ASSERT_TRUE(client.Start(world().hub, Spec("state = TRAINING")).ok());
  Read(client);
  Advance(absl::Seconds(10));
  world().Put("a", kTraining);
  EXPECT_THAT(Read(client), ElementsAre("CREATED a@1"));
  world().Put("b", kQueued);  // Does not concern it, and is covered by the next heartbeat.
  world().catalog.SetObserveTime(clock_.Now());
  Advance(absl::Seconds(14));
  EXPECT_THAT(Read(client), IsEmpty());
  Advance(absl::Seconds(1));
  EXPECT_THAT(Read(client), ElementsAre("HEARTBEAT@2"));
  EXPECT_EQ(client.messages().back().heartbeat().observe_time().seconds(),
            absl::ToUnixSeconds(clock_.Now()) - 15);
  Advance(absl::Seconds(15));
  EXPECT_THAT(Read(client), ElementsAre("HEARTBEAT@2"));
  client.Cancel();
}

// Holds up its shard in a write.
class HeldClient : public WatchClient {
 public:
  void Write(const grpc::ByteBuffer& message) override {
    WatchClient::Write(message);
    if (!hold.exchange(false)) return;
    held.set_value();
    release.get_future().wait();
  }

  std::atomic<bool> hold = false;
  std::promise<void> held;
  std::promise<void> release;
};

TEST_F(WatchHubTest, TellsOfNoReadOfSegmindWhoseChangesWaitToBeDispatched) {
  Open({.threads = 1});
  HeldClient held;
  ASSERT_TRUE(held.Start(world().hub, Spec()).ok());
  Read(held);
  held.hold = true;
  world().Put("a", kQueued);
  held.held.get_future().wait();
  world().catalog.SetObserveTime(clock_.Now());
  WatchClient client;
  const ResumePoint now{world().catalog.epoch(), 7, 1};
  ASSERT_TRUE(client.Start(world().hub, Resume(EncodeResumeToken(now))).ok());
  EXPECT_THAT(Summaries(client.News()), ElementsAre("HEARTBEAT@1"));
  EXPECT_FALSE(client.messages()[0].heartbeat().has_observe_time());
  held.release.set_value();
  Read(client);
  Advance(absl::Seconds(15));
  EXPECT_THAT(Summaries(client.News()), ElementsAre("HEARTBEAT@1"));
  EXPECT_TRUE(client.messages()[1].heartbeat().has_observe_time());
  client.Break();
  held.Break();
}

TEST_F(WatchHubTest, SendsNoHeartbeatWhileSomethingWaits) {
  WatchClient client;
  ASSERT_TRUE(client.Start(world().hub, Spec()).ok());
  world().Put("a", kQueued);
  Advance(absl::Seconds(60));
  EXPECT_THAT(Summaries(client.News()), ElementsAre("SYNCED@0"));
  EXPECT_THAT(Read(client), ElementsAre("CREATED a@1"));
  client.Cancel();
}

TEST_F(WatchHubTest, EndsAStreamAtItsGreatestAgeWithAHeartbeat) {
  WatchClient client;
  ASSERT_TRUE(client.Start(world().hub, Spec()).ok());
  Read(client);
  for (int i = 0; i < 26; ++i) {
    Advance(absl::Minutes(1));
    client.ReadAll();
  }
  EXPECT_FALSE(client.finished());
  for (int i = 0; i < 8 && !client.finished(); ++i) {
    Advance(absl::Minutes(1));
    client.ReadAll();
  }
  ASSERT_TRUE(client.finished());
  EXPECT_EQ(ReasonOf(*client.finished()), pb::ErrorReason::SERVER_DRAINING);
  EXPECT_TRUE(RetryDelayOf(*client.finished()));
  EXPECT_EQ(Summary(client.messages().back()), "HEARTBEAT@0");
}

TEST_F(WatchHubTest, EndsAllStreamsWhenItDrains) {
  WatchClient idle;
  ASSERT_TRUE(idle.Start(world().hub, Spec()).ok());
  Read(idle);
  WatchClient behind;
  ASSERT_TRUE(behind.Start(world().hub, Spec()).ok());
  world().Put("a", kQueued);
  Read(idle);
  WatchClient stuck;
  ASSERT_TRUE(stuck.Start(world().hub, Spec()).ok());
  bool drained = false;
  world().hub.Drain(absl::Seconds(5), absl::Seconds(5), [&] { drained = true; });
  WatchClient late;
  EXPECT_EQ(ReasonOf(late.Start(world().hub, Spec())), pb::ErrorReason::SERVER_DRAINING);

  Advance(absl::Seconds(5));
  EXPECT_THAT(Summaries(idle.News()), ElementsAre("HEARTBEAT@1"));
  idle.Read();
  EXPECT_EQ(ReasonOf(*idle.finished()), pb::ErrorReason::SERVER_DRAINING);
  behind.Read();
  EXPECT_THAT(Summaries(behind.News()), ElementsAre("SYNCED@0"));
  EXPECT_EQ(ReasonOf(*behind.finished()), pb::ErrorReason::SERVER_DRAINING);
  Advance(absl::Seconds(5));
  EXPECT_TRUE(stuck.aborted());
  EXPECT_FALSE(drained);
  stuck.Read(false);
  EXPECT_TRUE(stuck.finished());
  EXPECT_TRUE(drained);
}

TEST_F(WatchHubTest, GivesTheLastStreamsOfADrainTimeToReadTheirFarewell) {
  constexpr absl::Duration kOver = absl::Seconds(5);
  constexpr absl::Duration kPatience = absl::Seconds(2);
  std::vector<WatchClient> clients(100);
  for (WatchClient& client : clients) {
    ASSERT_TRUE(client.Start(world().hub, Spec()).ok());
    Read(client);
  }
  world().hub.Drain(kOver, kPatience, nullptr);
  Advance(kOver - absl::Milliseconds(100));
  Advance(absl::Milliseconds(100));
  Advance(kPatience - absl::Milliseconds(1));
  for (WatchClient& client : clients) {
    EXPECT_FALSE(client.aborted());
    client.Read();
    ASSERT_TRUE(client.finished());
    EXPECT_EQ(ReasonOf(*client.finished()), pb::ErrorReason::SERVER_DRAINING);
  }
}

TEST_F(WatchHubTest, EndsAStreamAsItIsTold) {
  const absl::Status why = absl::UnauthenticatedError("no more");
  WatchClient idle;
  ASSERT_TRUE(idle.Start(world().hub, Spec()).ok());
  Read(idle);
  WatchClient stuck;
  ASSERT_TRUE(stuck.Start(world().hub, Spec()).ok());
  world().Put("a", kQueued);
  Read(idle);
  idle.End(why);
  EXPECT_EQ(idle.finished(), why);
  stuck.End(why);
  EXPECT_FALSE(stuck.finished());
  // It does not read, and is cut off.
  for (int i = 0; i < 10 && !stuck.aborted(); ++i) Advance(absl::Seconds(5));
  EXPECT_TRUE(stuck.aborted());
  stuck.Read(false);
  EXPECT_TRUE(stuck.finished());
  EXPECT_EQ(world().hub.watcher_count(), 0);
}

// Reads at the very moment when its stream is to be aborted.
class LastMinuteClient : public WatchClient {
 public:
  void Abort() override { Read(); }
};

TEST_F(WatchHubTest, EndsAStreamInOrderWhoseWriteIsDoneWhileItIsAborted) {
  LastMinuteClient client;
  ASSERT_TRUE(client.Start(world().hub, Spec()).ok());
  world().hub.Drain(absl::Seconds(5), absl::Seconds(5), nullptr);
  for (int i = 0; i < 3 && !client.finished(); ++i) {
    Advance(absl::Seconds(5));
    if (client.messages().size() > 1) client.Read();
  }
  EXPECT_THAT(Summaries(client.News()), ElementsAre("SYNCED@0", "HEARTBEAT@0"));
  ASSERT_TRUE(client.finished());
  EXPECT_EQ(ReasonOf(*client.finished()), pb::ErrorReason::SERVER_DRAINING);
}

TEST_F(WatchHubTest, CountsItsWatchers) {
  WatchClient clients[3];
  for (WatchClient& client : clients) ASSERT_TRUE(client.Start(world().hub, Spec()).ok());
  EXPECT_EQ(MetricOf("finetune_gateway_watchers"), 3);
  for (WatchClient& client : clients) {
    client.Read();
    client.Cancel();
  }
  EXPECT_EQ(MetricOf("finetune_gateway_watchers"), 0);
}

TEST_F(WatchHubTest, FinishesOnceWhateverFails) {
  WatchClient lost;
  ASSERT_TRUE(lost.Start(world().hub, Spec()).ok());
  lost.Read(false);
  EXPECT_TRUE(absl::IsCancelled(*lost.finished()));
  lost.Cancel();

  WatchClient cancelled;
  ASSERT_TRUE(cancelled.Start(world().hub, Spec()).ok());
  cancelled.Cancel();
  EXPECT_FALSE(cancelled.finished());  // Its write is still under way.
  cancelled.Read(false);
  EXPECT_TRUE(cancelled.finished());
  world().Put("a", kQueued);
  world().hub.AwaitIdle();
  EXPECT_EQ(world().hub.watcher_count(), 0);
}

TEST_F(WatchHubTest, EndsWhatIsLeftWhenItGoes) {
  WatchClient idle;
  ASSERT_TRUE(idle.Start(world().hub, Spec()).ok());
  Read(idle);
  world_ = nullptr;
  EXPECT_EQ(ReasonOf(*idle.finished()), pb::ErrorReason::SERVER_DRAINING);
}

TEST_F(WatchHubTest, CountsMessagesAndMeasuresTheLag) {
  WatchClient client;
  ASSERT_TRUE(client.Start(world().hub, Spec()).ok());
  Read(client);
  world().Put("a", kQueued);
  Read(client);
  EXPECT_EQ(MetricOf("finetune_gateway_watch_messages_total"), 2);
  EXPECT_EQ(MetricOf("finetune_gateway_delivery_lag_seconds"), 1);
  client.Cancel();
}

TEST_F(WatchHubTest, SendsTheViewThatWasAskedFor) {
  world().Put("a", kQueued);
  WatchClient basic;
  ASSERT_TRUE(basic.Start(world().hub, Spec()).ok());
  WatchClient full;
  WatchSpec spec = Spec();
  spec.view = pb::FINE_TUNE_VIEW_FULL;
  ASSERT_TRUE(full.Start(world().hub, spec).ok());
  Read(basic);
  Read(full);
  world().Put("a", kTraining);
  Read(basic);
  Read(full);
  for (size_t i : {0, 2}) {
    EXPECT_EQ(basic.messages()[i].change().fine_tune().transitions_size(), 0);
    EXPECT_EQ(full.messages()[i].change().fine_tune().transitions_size(), 1);
  }
  basic.Cancel();
  full.Cancel();
}

}  // namespace
}  // namespace finetune
