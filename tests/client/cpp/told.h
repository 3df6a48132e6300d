#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "client/cpp/watch_event.h"

namespace finetune {

// What one subscription was told; `Await` blocks until it was told enough. Thread-safe. Outlives
// the subscription.
class Told {
 public:
  WatchCallback Callback() {
    return [this](const WatchEvent& event) {
      std::lock_guard lock(mu_);
      events_.push_back(event);
      changed_.notify_all();
    };
  }

  std::vector<WatchEvent> Await(const std::function<bool(const std::vector<WatchEvent>&)>& enough) {
    std::unique_lock lock(mu_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), [&] { return enough(events_); }));
    return events_;
  }

  std::vector<WatchEvent> AwaitRevision(uint64_t revision) {
    return Await([&](const auto& events) {
      return std::any_of(events.begin(), events.end(), [&](const WatchEvent& event) {
        return event.fine_tune != nullptr && event.fine_tune->revision() >= revision;
      });
    });
  }

  std::vector<WatchEvent> AwaitKind(WatchEvent::Kind kind, int times = 1) {
    return Await([&](const auto& events) {
      return std::count_if(events.begin(), events.end(),
                           [&](const WatchEvent& event) { return event.kind == kind; }) >= times;
    });
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  std::vector<WatchEvent> events_;
};

}  // namespace finetune
