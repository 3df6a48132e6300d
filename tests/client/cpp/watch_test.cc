#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>

#include "client/cpp/client.h"
#include "client/cpp/watch_client.h"
#include "tests/client/cpp/told.h"
#include "tests/client/fake_service.h"

namespace finetune {
namespace {

using Kind = WatchEvent::Kind;
using testing::ElementsAre;
using testing::UnorderedElementsAre;

std::vector<std::string> Shown(const std::vector<WatchEvent>& events) {
  std::vector<std::string> shown;
  for (const WatchEvent& event : events) {
    static const char* const kNames[] = {"snapshot", "created", "updated",   "left",
                                         "synced",   "reset",   "heartbeat", "ended"};
    std::string text = kNames[static_cast<int>(event.kind)];
    if (event.fine_tune != nullptr) {
      text += " " + event.fine_tune->name().substr(10) + " " +
              pb::FineTune::State_Name(event.fine_tune->state());
    }
    shown.push_back(text);
  }
  return shown;
}

// Each job's revisions rise, and each job's last form was told.
void ExpectOrderedAndComplete(const std::vector<WatchEvent>& events,
                              const std::map<std::string, uint64_t>& last_revisions) {
  std::map<std::string, uint64_t> seen;
  for (const WatchEvent& event : events) {
    if (event.fine_tune == nullptr) continue;
    uint64_t& last = seen[event.fine_tune->name()];
    EXPECT_LT(last, event.fine_tune->revision()) << event.fine_tune->name();
    last = event.fine_tune->revision();
  }
  EXPECT_EQ(seen, last_revisions);
}

class Watch : public testing::Test {
 protected:
  std::unique_ptr<FineTuneClient> Client() {
    auto client = Connect(service_.target());
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }

  static WatcherOptions Quick() {
    WatcherOptions options;
    options.backoff = {.initial = absl::Milliseconds(1), .maximum = absl::Milliseconds(10)};
    return options;
  }

  FakeService service_;
};

TEST_F(Watch, TellsTheSnapshotThenSyncedThenChanges) {
  service_.Put("a", pb::FineTune::QUEUED);
  auto client = Client();
  auto watcher = client->NewWatcher(Quick());
  Told told;
  auto subscription = watcher->Subscribe({}, told.Callback());
  told.AwaitKind(Kind::kSynced);
  const uint64_t revision = service_.Put("a", pb::FineTune::TRAINING);
  EXPECT_THAT(Shown(told.AwaitRevision(revision)),
              ElementsAre("snapshot a QUEUED", "synced", "updated a TRAINING"));
}

TEST_F(Watch, LosesAndRepeatsNothingWhereverTheStreamBreaks) {
  for (int first = 0; first <= 7; ++first) {
    for (int second = 0; second <= 5; ++second) {
      FakeService service;
      auto client = *Connect(service.target());
      for (const char* id : {"a", "b", "c"}) service.Put(id, pb::FineTune::QUEUED);
      service.BreakStreamsAfter({first, second});
      auto watcher = client->NewWatcher(Quick());
      Told told;
      auto subscription = watcher->Subscribe({}, told.Callback());
      std::map<std::string, uint64_t> last;
      told.AwaitKind(Kind::kSynced);
      for (auto state : {pb::FineTune::PREPARING, pb::FineTune::TRAINING, pb::FineTune::TRAINED}) {
        for (const char* id : {"a", "b", "c"})
          last[std::string("fineTunes/") + id] = service.Put(id, state);
      }
      const auto events = told.AwaitRevision(12);
      ExpectOrderedAndComplete(events, last);
      EXPECT_EQ(std::count_if(events.begin(), events.end(),
                              [](auto& e) { return e.kind == Kind::kSynced; }),
                1)
          << first << " " << second;
    }
  }
}

TEST_F(Watch, TellsTheDifferencesAfterAReset) {
  service_.Put("changed", pb::FineTune::QUEUED);
  service_.Put("gone", pb::FineTune::QUEUED);
  service_.Put("same", pb::FineTune::QUEUED);
  service_.BreakStreamsAfter({4});
  std::mutex holding;
  holding.lock();
  WatcherOptions options = Quick();
  options.on_connection = [&](const WatchConnection& connection) {
    // The history changes while the client is away.
    if (!connection.connected) std::lock_guard wait(holding);
  };
  auto client = Client();
  auto watcher = client->NewWatcher(std::move(options));
  Told told;
  auto subscription = watcher->Subscribe({}, told.Callback());
  told.AwaitKind(Kind::kSynced);
  service_.BeginAnotherHistory();
  service_.Put("new", pb::FineTune::QUEUED);
  service_.Put("changed", pb::FineTune::TRAINING);
  service_.Put("same", pb::FineTune::QUEUED);
  holding.unlock();
  const auto shown = Shown(told.AwaitKind(Kind::kSynced, 2));
  EXPECT_EQ(shown[4], "reset");
  EXPECT_EQ(shown.back(), "synced");
  EXPECT_THAT(std::vector(shown.begin() + 5, shown.end() - 1),
              ElementsAre("left gone QUEUED", "created new QUEUED", "updated changed TRAINING"));
}

TEST_F(Watch, StartsAfreshWhenItsTokenIsRefused) {
  service_.Put("a", pb::FineTune::QUEUED);
  service_.RefuseTokens();
  auto client = Client();
  WatcherOptions options = Quick();
  options.resume_token = "of another gateway";
  auto watcher = client->NewWatcher(std::move(options));
  Told told;
  auto subscription = watcher->Subscribe({}, told.Callback());
  EXPECT_THAT(Shown(told.AwaitKind(Kind::kSynced)), ElementsAre("snapshot a QUEUED", "synced"));
}

TEST_F(Watch, GoesOnFromTheTokenOfAnEarlierWatcher) {
  service_.Put("a", pb::FineTune::QUEUED);
  auto client = Client();
  std::string token;
  {
    auto watcher = client->NewWatcher(Quick());
    Told told;
    auto subscription = watcher->Subscribe({}, told.Callback());
    token = told.AwaitKind(Kind::kSynced).back().resume_token;
  }
  service_.Put("a", pb::FineTune::PREPARING);
  const uint64_t last = service_.Put("a", pb::FineTune::TRAINING);
  WatcherOptions options = Quick();
  options.resume_token = token;
  auto watcher = client->NewWatcher(std::move(options));
  Told told;
  auto subscription = watcher->Subscribe({}, told.Callback());
  EXPECT_THAT(Shown(told.AwaitRevision(last)),
              ElementsAre("updated a PREPARING", "updated a TRAINING"));
}

TEST_F(Watch, GivesUpAStreamThatHasFallenSilent) {
  service_.Put("a", pb::FineTune::QUEUED);
  auto client = Client();
  WatcherOptions options = Quick();
  options.silence_limit = absl::Milliseconds(200);
  auto watcher = client->NewWatcher(std::move(options));
  Told told;
  auto subscription = watcher->Subscribe({}, told.Callback());
  told.AwaitKind(Kind::kSynced);
  service_.FallSilent();
  const uint64_t revision = service_.Put("a", pb::FineTune::TRAINING);
  const auto events = told.AwaitRevision(revision);
  EXPECT_THAT(Shown(events), ElementsAre("snapshot a QUEUED", "synced", "updated a TRAINING"));
  EXPECT_GE(service_.streams_opened(), 2);
}

TEST_F(Watch, SharesOneStreamAmongSubscriptionsWithTheirOwnNamesAndFilters) {
  service_.Put("a", pb::FineTune::QUEUED, "FLUX");
  service_.Put("b", pb::FineTune::QUEUED, "QWEN");
  auto client = Client();
  Told all, only_b, only_queued;
  auto first = client->Watch({}, all.Callback());
  all.AwaitKind(Kind::kSynced);
  // Added while the stream runs: each gets what is known, then what changes.
  auto second = client->Watch({.names = {"fineTunes/b", "fineTunes/none"}}, only_b.Callback());
  auto third = client->Watch(
      {.filter = [](const pb::FineTune& job) { return job.state() == pb::FineTune::QUEUED; }},
      only_queued.Callback());
  EXPECT_THAT(Shown(only_b.AwaitKind(Kind::kSynced)), ElementsAre("snapshot b QUEUED", "synced"));
  only_queued.AwaitKind(Kind::kSynced);
  service_.Put("a", pb::FineTune::TRAINING);
  service_.Put("a", pb::FineTune::TRAINED);
  const uint64_t last = service_.Put("b", pb::FineTune::PREPARING);
  all.AwaitRevision(last);
  EXPECT_THAT(Shown(only_b.AwaitRevision(last)),
              ElementsAre("snapshot b QUEUED", "synced", "updated b PREPARING"));
  EXPECT_THAT(Shown(only_queued.AwaitRevision(last)),
              ElementsAre("snapshot a QUEUED", "snapshot b QUEUED", "synced", "left a TRAINING",
                          "left b PREPARING"));
  EXPECT_EQ(service_.streams_opened(), 1);
}

TEST_F(Watch, LosesNothingForSubscriptionsThatComeAndGoWhileChangesArrive) {
  auto client = Client();
  auto watcher = client->NewWatcher(Quick());
  service_.Put("a", pb::FineTune::QUEUED);
  std::vector<std::unique_ptr<Told>> tolds;
  std::vector<std::unique_ptr<Subscription>> subscriptions;
  uint64_t last = 0;
  for (int i = 0; i < 200; ++i) {
    last = service_.Put("a", i % 2 == 0 ? pb::FineTune::TRAINING : pb::FineTune::QUEUED);
    tolds.push_back(std::make_unique<Told>());
    subscriptions.push_back(
        watcher->Subscribe({.names = {"fineTunes/a"}}, tolds.back()->Callback()));
    if (i % 3 == 0) subscriptions[i / 2].reset();
  }
  for (size_t i = 0; i < tolds.size(); ++i) {
    if (subscriptions[i] == nullptr) continue;
    const auto events = tolds[i]->AwaitRevision(last);
    uint64_t before = 0;
    for (const WatchEvent& event : events) {
      if (event.fine_tune == nullptr) continue;
      // After the first each follows the one before it: nothing was left out.
      if (before != 0) EXPECT_EQ(event.fine_tune->revision(), before + 1);
      before = event.fine_tune->revision();
    }
  }
  EXPECT_EQ(service_.streams_opened(), 1);
}

TEST_F(Watch, IsNotCalledAnyMoreOnceASubscriptionIsGone) {
  service_.Put("a", pb::FineTune::QUEUED);
  auto client = Client();
  auto watcher = client->NewWatcher(Quick());
  Told other;
  auto kept = watcher->Subscribe({}, other.Callback());
  auto calls = std::make_unique<int>(0);
  std::unique_ptr<Subscription> subscription =
      watcher->Subscribe({}, [counter = calls.get()](const WatchEvent&) { ++*counter; });
  other.AwaitKind(Kind::kSynced);
  subscription.reset();
  // A call would now be a use after free, which the sanitizers see.
  calls.reset();
  other.AwaitRevision(service_.Put("a", pb::FineTune::TRAINING));
}

TEST_F(Watch, CanEndASubscriptionInsideItsOwnCallback) {
  service_.Put("a", pb::FineTune::QUEUED);
  auto client = Client();
  auto watcher = client->NewWatcher(Quick());
  std::mutex mu;
  std::unique_ptr<Subscription> subscription;
  Told told;
  {
    std::lock_guard lock(mu);
    subscription =
        watcher->Subscribe({}, [&, callback = told.Callback()](const WatchEvent& event) mutable {
          callback(event);
          std::lock_guard inner(mu);
          subscription.reset();
        });
  }
  told.AwaitKind(Kind::kSnapshot);
  Told other;
  auto kept = watcher->Subscribe({}, other.Callback());
  other.AwaitRevision(service_.Put("a", pb::FineTune::TRAINING));
  EXPECT_THAT(Shown(told.AwaitKind(Kind::kSnapshot)), ElementsAre("snapshot a QUEUED"));
}

TEST_F(Watch, EndsWhenTryingAgainCannotHelp) {
  auto client = Client();
  WatcherOptions options = Quick();
  options.names = {"fineTunes/none"};
  auto watcher = client->NewWatcher(std::move(options));
  Told told;
  auto subscription = watcher->Subscribe({}, told.Callback());
  const auto events = told.AwaitKind(Kind::kEnded);
  EXPECT_EQ(ErrorReasonOf(events.back().status), pb::ErrorReason::FINE_TUNE_NOT_FOUND);
  Told late;
  auto second = watcher->Subscribe({}, late.Callback());
  EXPECT_TRUE(absl::IsNotFound(late.AwaitKind(Kind::kEnded).back().status));
}

TEST_F(Watch, FindsAServerThatComesLater) {
  std::string target;
  {
    FakeService gone;
    target = gone.target();
  }
  auto client = *Connect(target);
  std::mutex mu;
  std::condition_variable failed;
  int failures = 0;
  WatcherOptions watching = Quick();
  watching.on_connection = [&](const WatchConnection& connection) {
    std::lock_guard lock(mu);
    EXPECT_TRUE(absl::IsUnavailable(connection.status)) << connection.status;
    ++failures;
    failed.notify_all();
  };
  auto watcher = client->NewWatcher(std::move(watching));
  Told told;
  auto subscription = watcher->Subscribe({}, told.Callback());
  std::unique_lock lock(mu);
  EXPECT_TRUE(failed.wait_for(lock, std::chrono::seconds(20), [&] { return failures >= 3; }));
  lock.unlock();
}

}  // namespace
}  // namespace finetune
