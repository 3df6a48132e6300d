#pragma once

#include <array>
#include <vector>

#include "absl/time/time.h"
#include "server/base/metrics.h"
#include "server/jobs/record/version_change.h"

namespace finetune {

// What a message of a watch stream is, as metrics tell them apart.
enum class WatchMessage { kSnapshot, kCreated, kUpdated, kLeftFilter, kSynced, kHeartbeat, kReset };
inline constexpr int kWatchMessages = 7;

WatchMessage WatchMessageOf(pb::Change::Type type);

// The series of the watch hub. Thread-safe.
class WatchMetrics {
 public:
  explicit WatchMetrics(Metrics& metrics);

  prometheus::Gauge& watchers() { return watchers_; }
  void CountReset(pb::Restart::Reason reason);

 private:
  friend class DeliveryTally;

  prometheus::Gauge& watchers_;
  prometheus::Histogram& lag_;
  // The method's own series, under the name that all gRPC servers use. Counted here, where it costs
  // the streams nothing.
  prometheus::Counter& sent_;
  std::array<prometheus::Counter*, kWatchMessages> messages_;
  std::array<prometheus::Counter*, pb::Restart::Reason_ARRAYSIZE> resets_;
};

// Counts deliveries and hands them to the metrics together, because threads that dispatch to
// thousands of streams would otherwise contend for the metrics' locks. Used by one thread.
class DeliveryTally {
 public:
  explicit DeliveryTally(WatchMetrics& metrics);
  ~DeliveryTally() { Flush(); }
  DeliveryTally(const DeliveryTally&) = delete;
  DeliveryTally& operator=(const DeliveryTally&) = delete;

  void Count(WatchMessage message) { ++messages_[static_cast<int>(message)]; }
  // From the change's commit to the start of its write.
  void Lag(absl::Duration lag);
  void Flush();

 private:
  WatchMetrics& metrics_;
  std::array<int64_t, kWatchMessages> messages_ = {};
  std::array<int, 16> buckets_ = {};  // Those of kLatencyBuckets, and the rest.
  double seconds_ = 0;
  bool lagged_ = false;
};

}  // namespace finetune
