#include "tests/bench/shared_streams.h"

#include <iostream>
#include <memory>
#include <vector>

#include "client/cpp/client.h"
#include "tests/bench/changes.h"
#include "tests/bench/labeller.h"
#include "tests/bench/process.h"

namespace finetune::bench {
namespace {

// One local subscription's part: it is told of the job's every change, once and in order.
class Subscriber {
 public:
  Subscriber(FineTuneClient& client, const std::string& job, int number, Receipts& receipts)
      : job_(job), receipts_(receipts) {
    SubscriptionOptions wanted;
    if (number % 2 == 0) {
      wanted.names = {job, "fineTunes/of-" + std::to_string(number)};
    } else {
      wanted.filter = [number, job](const pb::FineTune& fine_tune) {
        return fine_tune.name() == job || fine_tune.display_name() == std::to_string(number);
      };
    }
    subscription_ =
        client.Watch(std::move(wanted), [this](const WatchEvent& event) { OnEvent(event); });
  }

 private:
  void OnEvent(const WatchEvent& event) {
    const int64_t now = NowNanoseconds();
    switch (event.kind) {
      case WatchEvent::Kind::kSynced:
        synced_ = true;
        receipts_.AddReady();
        break;
      case WatchEvent::Kind::kEnded:
        receipts_.AddEnded();
        break;
      case WatchEvent::Kind::kUpdated:
        if (!synced_ || event.fine_tune->name() != job_ || event.revision <= revision_) {
          receipts_.AddWrong();
        }
        revision_ = event.revision;
        receipts_.Add(now);
        break;
      default:
        break;
    }
  }

  const std::string job_;
  Receipts& receipts_;
  bool synced_ = false;
  uint64_t revision_ = 0;
  // Last: once it is gone, nothing is called any more.
  std::unique_ptr<Subscription> subscription_;
};

}  // namespace

bool RunSharedStreams(const SharedStreamsOptions& options) {
  const int all = options.clients * options.subscriptions;
  const ChangesOptions changes{options.pid, all, all, options.changes};
  Receipts receipts(all);
  Labeller labeller(options.target, options.job);
  const MakeChange make = [&](int) { return labeller.Change(); };
  const std::vector<double> alone = MakeAlone(make, options.changes);
  const int64_t memory_before = ResidentBytes(options.pid);
  std::vector<std::unique_ptr<FineTuneClient>> clients;
  std::vector<std::unique_ptr<Subscriber>> subscribers;
  for (int i = 0; i < options.clients; ++i) {
    clients.push_back(*Connect(options.target));
    for (int j = 0; j < options.subscriptions; ++j) {
      subscribers.push_back(
          std::make_unique<Subscriber>(*clients.back(), options.job, j, receipts));
    }
  }
  if (!receipts.AwaitReady(all)) {
    std::cerr << "not all subscriptions were synced\n";
    return false;
  }
  const auto memory = static_cast<double>(ResidentBytes(options.pid) - memory_before);
  ChangesResult result = MeasureChanges(changes, receipts, make);
  result.made_alone = alone;
  result.bytes_per_receiver = memory / all;
  std::cout << ToJson(changes, receipts, result) << std::endl;
  return result.complete;
}

}  // namespace finetune::bench
