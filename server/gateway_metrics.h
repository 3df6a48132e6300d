#pragma once

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/tracking/tracker.h"
#include "server/segmind/segmind_client.h"

namespace finetune {

// What /metrics says about the gateway as a whole: its version and start, how old its view is, how
// Segmind answers, and whether the record can be written. What it is given outlives it; used by one
// thread at a time.
class GatewayMetrics {
 public:
  struct Parts {
    const Catalog& catalog;
    const Recorder& recorder;
    SegmindClient& segmind;
    const Tracker& tracker;
    Clock& clock;
    Metrics& metrics;
  };

  // `start_time` is steady.
  GatewayMetrics(const Parts& parts, absl::Time start_time);

  void Update();

 private:
  const Parts parts_;
  const absl::Time start_time_;
  prometheus::Gauge& view_age_;
  prometheus::Gauge& calls_left_;
  prometheus::Gauge& upstream_state_;
  prometheus::Gauge& store_writable_;
};

}  // namespace finetune
