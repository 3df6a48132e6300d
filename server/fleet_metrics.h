#pragma once

#include <algorithm>

#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/store/fleet.h"

namespace finetune {

// What /metrics says about the gateways that share one record. What it is given outlives it; used
// by one thread at a time.
class FleetMetrics {
 public:
  FleetMetrics(const Fleet& fleet, Clock& clock, Metrics& metrics)
      : fleet_(fleet),
        clock_(clock),
        started_(clock.Now()),
        leads_(metrics.Gauge("finetune_gateway_leader",
                             "1 while this replica is the one that reads Segmind.")),
        term_(metrics.Gauge("finetune_gateway_leader_term",
                            "How many times the reading of Segmind began or went to another "
                            "replica.")),
        members_(metrics.Gauge("finetune_gateway_members",
                               "Replicas that are alive, as far as this one knows.")),
        lag_(metrics.Gauge("finetune_gateway_store_lag_seconds",
                           "How long ago this replica lacked nothing of the shared record.")),
        reachable_(metrics.Gauge("finetune_gateway_store_reachable",
                                 "1 while this replica reaches the shared record.")),
        synchronous_(metrics.Gauge("finetune_gateway_store_synchronous",
                                   "1 while the database acknowledges a commit only once a standby "
                                   "has it.")),
        standbys_(
            metrics.Gauge("finetune_gateway_store_standbys", "Standbys that follow the database.")),
        skew_(metrics.Gauge("finetune_gateway_clock_skew_seconds",
                            "How far the clock of this replica is ahead of the database's.")) {}

  void Update() {
    const FleetStatus status = fleet_.status();
    leads_.Set(status.leads ? 1 : 0);
    term_.Set(static_cast<double>(status.term.number));
    members_.Set(static_cast<double>(status.members.size()));
    lag_.Set(absl::ToDoubleSeconds(clock_.Now() - std::max(status.complete, started_)));
    reachable_.Set(status.reachable ? 1 : 0);
    synchronous_.Set(status.is_synchronous ? 1 : 0);
    standbys_.Set(static_cast<double>(status.standbys));
    skew_.Set(absl::ToDoubleSeconds(status.skew));
  }

 private:
  const Fleet& fleet_;
  Clock& clock_;
  const absl::Time started_;
  prometheus::Gauge& leads_;
  prometheus::Gauge& term_;
  prometheus::Gauge& members_;
  prometheus::Gauge& lag_;
  prometheus::Gauge& reachable_;
  prometheus::Gauge& synchronous_;
  prometheus::Gauge& standbys_;
  prometheus::Gauge& skew_;
};

}  // namespace finetune
