// Many subscriptions on one stream.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "client/cpp/client.h"
#include "client/cpp/watch_client.h"
#include "tests/client/cpp/told.h"
#include "tests/client/fake_service.h"

namespace finetune {
namespace {

using Kind = WatchEvent::Kind;

constexpr int kJobs = 10;

std::string JobName(int job) { return "fineTunes/" + std::to_string(job); }

WatcherOptions Quick() {
  WatcherOptions options;
  options.backoff = {.initial = absl::Milliseconds(1), .maximum = absl::Milliseconds(10)};
  return options;
}

std::unique_ptr<FineTuneClient> ClientOf(const FakeService& service) {
  auto client = Connect(service.target());
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

// A subscription to one job, by its name or by a filter, that must be told of each of its revisions
// from the first that it is told of.
class OfOneJob {
 public:
  OfOneJob(Watcher& watcher, int job, bool by_name) {
    SubscriptionOptions wanted;
    if (by_name) {
      wanted.names = {JobName(job)};
    } else {
      wanted.filter = [name = JobName(job)](const pb::FineTune& fine_tune) {
        return fine_tune.name() == name;
      };
    }
    subscription_ = watcher.Subscribe(std::move(wanted), told_.Callback());
  }

  // `revisions`: all that the job ever had, in order.
  void ExpectAll(const std::vector<uint64_t>& revisions) {
    std::vector<uint64_t> seen;
    for (const WatchEvent& event : told_.AwaitRevision(revisions.back())) {
      if (event.fine_tune != nullptr) seen.push_back(event.fine_tune->revision());
    }
    ASSERT_FALSE(seen.empty());
    const auto first = std::find(revisions.begin(), revisions.end(), seen.front());
    EXPECT_EQ(seen, std::vector<uint64_t>(first, revisions.end()));
  }

  void AwaitSynced() { told_.AwaitKind(Kind::kSynced); }

 private:
  Told told_;
  std::unique_ptr<Subscription> subscription_;
};

// The jobs of a service, and each one's revisions so far.
class Jobs {
 public:
  explicit Jobs(FakeService& service) : service_(service) { ChangeAll(); }

  void ChangeAll() {
    for (int job = 0; job < kJobs; ++job) {
      const auto state =
          revisions_[job].size() % 2 == 0 ? pb::FineTune::QUEUED : pb::FineTune::TRAINING;
      revisions_[job].push_back(service_.Put(std::to_string(job), state));
    }
  }

  const std::vector<uint64_t>& revisions(int job) const { return revisions_[job]; }

 private:
  FakeService& service_;
  std::vector<uint64_t> revisions_[kJobs];
};

TEST(SharedWatch, AHundredSubscriptionsGoOnAcrossRestartsWithoutLossOrRepetition) {
  FakeService service;
  Jobs jobs(service);
  auto client = ClientOf(service);
  auto watcher = client->NewWatcher(Quick());
  std::vector<std::unique_ptr<OfOneJob>> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(std::make_unique<OfOneJob>(*watcher, i % kJobs, i % 2 == 0));
  }
  for (auto& one : all) one->AwaitSynced();
  for (int restart = 0; restart < 3; ++restart) {
    jobs.ChangeAll();
    service.Restart([&] { jobs.ChangeAll(); });
    service.AwaitStreams(restart + 2);
    jobs.ChangeAll();
  }
  for (int i = 0; i < 100; ++i) all[i]->ExpectAll(jobs.revisions(i % kJobs));
}

TEST(SharedWatch, SubscriptionsThatComeAndGoOnManyThreadsLoseNothingAndDisturbNobody) {
  FakeService service;
  Jobs jobs(service);
  auto client = ClientOf(service);
  auto watcher = client->NewWatcher(Quick());
  OfOneJob steady(*watcher, 0, /*by_name=*/false);
  steady.AwaitSynced();

  constexpr int kThreads = 4;
  std::atomic<int> running{kThreads};
  std::vector<std::unique_ptr<OfOneJob>> kept[kThreads];
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        kept[t].push_back(std::make_unique<OfOneJob>(*watcher, i % kJobs, (i + t) % 3 != 0));
        if (i % 3 == 0) kept[t][i / 2] = nullptr;
      }
      --running;
    });
  }
  while (running > 0) jobs.ChangeAll();
  for (std::thread& thread : threads) thread.join();
  jobs.ChangeAll();

  for (const auto& part : kept) {
    for (size_t i = 0; i < part.size(); ++i) {
      if (part[i] != nullptr) part[i]->ExpectAll(jobs.revisions(static_cast<int>(i) % kJobs));
    }
  }
  steady.ExpectAll(jobs.revisions(0));
  EXPECT_EQ(service.streams_opened(), 1);
}

}  // namespace
}  // namespace finetune
