#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "server/access/caller.h"
#include "server/base/clock.h"
#include "server/base/long_work.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/job_waits.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/submission/spending_reader.h"
#include "server/jobs/submission/submitter.h"
#include "server/jobs/submission/updater.h"
#include "server/jobs/tracking/tracker.h"
#include "server/jobs/watching/watch_hub.h"
#include "server/segmind/segmind_client.h"
#include "server/service/requests/dataset_url.h"
#include "server/service/transfers/transfers.h"
#include "server/service/watches/watch_queues.h"
#include "server/store/fleet.h"

namespace finetune {

// The parts of the service; all outlive the server's calls.
struct ServiceParts {
  Catalog& catalog;
  Tracker& tracker;
  Submitter& submitter;
  SpendingReader& spending;
  Updater& updater;
  JobWaits& job_waits;
  WatchHub& hub;
  WatchQueues& watch_queues;  // Of the hub's threads.
  SegmindClient& segmind;
  Clock& clock;
  Recorder& recorder;
  // InfinitePast if there was none.
  std::function<absl::Time()> last_webhook_time;
  // Null: this gateway does not transfer datasets and weights.
  Transfers* transfers = nullptr;
  // Null: datasets are not checked. With `look_at_creates` those of creates are, too.
  const DatasetLooks* looks = nullptr;
  bool look_at_creates = true;
  // The name of this gateway among several.
  std::string replica;
  // Those that share the record.
  const Fleet& fleet;
  std::string_view store;  // What keeps the record.
  // Limits how much of the machine long lists take; null: nothing does.
  LongWork* long_work = nullptr;
};

// The limits on spending among those of the policy.
inline SpendingLimits SpendingLimitsOf(const Caller& caller) {
  return {.creates_per_day = caller.limits.creates_per_day,
          .active_jobs = caller.limits.active_jobs};
}

}  // namespace finetune
