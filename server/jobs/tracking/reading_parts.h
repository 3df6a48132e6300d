#pragma once

#include "server/base/clock.h"
#include "server/jobs/tracking/candidates.h"
#include "server/jobs/tracking/leader_recorder.h"
#include "server/jobs/tracking/missing_jobs.h"
#include "server/jobs/tracking/pace.h"
#include "server/jobs/tracking/refresh_calls.h"
#include "server/jobs/tracking/tracking_metrics.h"
#include "server/jobs/tracking/upstream_clock.h"
#include "server/segmind/segmind_client.h"

namespace finetune {

// What the reading of lists and that of details have in common: where they read and record, and
// what they learn together. All of it outlives them.
struct ReadingParts {
  SegmindClient& segmind;
  LeaderRecorder& recorder;
  Catalog& catalog;
  Clock& clock;
  TrackingMetrics& metrics;
  UpstreamClock& upstream_clock;
  Pace& pace;
  MissingJobs& missing;
  Candidates& candidates;
  RefreshCalls& refreshes;
};

}  // namespace finetune
