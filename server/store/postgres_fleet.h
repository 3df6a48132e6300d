#pragma once

#include <memory>

#include "server/store/fleet.h"
#include "server/store/membership.h"
#include "server/store/pg_connection.h"

namespace finetune {

// The timing of leases and looks; tests shorten it.
struct PostgresFleetOptions {
  PgTarget target;
  // How many the account allows. Above 2,000 each process counts by itself.
  int calls_per_minute = 50;
  // How often it looks at what the others share.
  absl::Duration interval = absl::Seconds(2);
  absl::Duration leader_lease = absl::Seconds(6);
  // A lease is trusted for this much less than the others grant.
  absl::Duration caution = absl::Seconds(1);
  // How long one question may take.
  absl::Duration patience = absl::Seconds(2);
  // The least time between giving up the lead twice, and how long it then leaves the lead to
  // others.
  absl::Duration give_up_every = absl::Minutes(5);
  absl::Duration stand_back = absl::Seconds(10);
};

// The processes that have their record in one PostgreSQL database. They share its tables `members`,
// `leader`, `hints` and `upstream_calls`, in which all times are by the database's clock. The fleet
// has a thread ("fleet") and a connection of its own, so that no lease waits behind a commit. A
// server that crashes may lose what it wrote, except for take-overs and calls. The store decides
// who is a member: `membership` is this process's, and outlives the fleet.
std::unique_ptr<Fleet> MakePostgresFleet(const PostgresFleetOptions& options,
                                         const Membership& membership);

}  // namespace finetune
