#include "server/jobs/watching/watch_metrics.h"

#include <algorithm>

namespace finetune {
namespace {

constexpr const char* kMessageNames[kWatchMessages] = {
    "SNAPSHOT", "CREATED", "UPDATED", "LEFT_FILTER", "SYNCED", "HEARTBEAT", "RESET"};

}  // namespace

WatchMessage WatchMessageOf(pb::Change::Type type) {
  switch (type) {
    case pb::Change::SNAPSHOT:
      return WatchMessage::kSnapshot;
    case pb::Change::CREATED:
      return WatchMessage::kCreated;
    case pb::Change::LEFT_FILTER:
      return WatchMessage::kLeftFilter;
    default:
      return WatchMessage::kUpdated;
  }
}

WatchMetrics::WatchMetrics(Metrics& metrics)
    : watchers_(metrics.Gauge("finetune_gateway_watchers", "Watch streams that are open.")),
      lag_(metrics.Histogram("finetune_gateway_delivery_lag_seconds",
                             "From a change's commit to the start of its write to a watcher.",
                             kLatencyBuckets)),
      sent_(metrics.Counter("grpc_server_msg_sent_total", "Messages sent.",
                            {{"grpc_type", "server_stream"},
                             {"grpc_service", "segmind.finetune.v1.FineTuneService"},
                             {"grpc_method", "WatchFineTunes"}})),
      resets_{} {
  for (int i = 0; i < kWatchMessages; ++i) {
    messages_[i] =
        &metrics.Counter("finetune_gateway_watch_messages_total",
                         "Messages written to watch streams.", {{"type", kMessageNames[i]}});
  }
  for (int reason = 1; reason < pb::Restart::Reason_ARRAYSIZE; ++reason) {
    resets_[reason] = &metrics.Counter(
        "finetune_gateway_watch_resets_total", "Watch streams told to start over.",
        {{"reason", pb::Restart::Reason_Name(static_cast<pb::Restart::Reason>(reason))}});
  }
}

void WatchMetrics::CountReset(pb::Restart::Reason reason) {
  if (resets_[reason] != nullptr) resets_[reason]->Increment();
}

DeliveryTally::DeliveryTally(WatchMetrics& metrics) : metrics_(metrics) {}

void DeliveryTally::Lag(absl::Duration lag) {
  const double seconds = std::max(0.0, absl::ToDoubleSeconds(lag));
  const auto bucket = std::lower_bound(kLatencyBuckets.begin(), kLatencyBuckets.end(), seconds);
  ++buckets_[bucket - kLatencyBuckets.begin()];
  seconds_ += seconds;
  lagged_ = true;
}

void DeliveryTally::Flush() {
  int64_t sent = 0;
  for (int i = 0; i < kWatchMessages; ++i) {
    if (messages_[i] != 0) metrics_.messages_[i]->Increment(static_cast<double>(messages_[i]));
    sent += messages_[i];
  }
  if (sent != 0) metrics_.sent_.Increment(static_cast<double>(sent));
  messages_ = {};
  if (!lagged_) return;
  metrics_.lag_.ObserveMultiple(
      std::vector<double>(buckets_.begin(), buckets_.begin() + kLatencyBuckets.size() + 1),
      seconds_);
  buckets_ = {};
  seconds_ = 0;
  lagged_ = false;
}

}  // namespace finetune
