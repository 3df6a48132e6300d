#pragma once

#include <memory>

#include "server/store/fleet.h"
#include "server/store/membership.h"
#include "server/store/pg_connection.h"

namespace finetune {

struct PostgresFleetOptions {
  PgTarget target;
  // What the account allows. Above 2,000 each process counts by itself.
  int calls_per_minute = 50;
  // How often it looks at what the others share.
  absl::Duration interval = absl::Seconds(2);
  absl::Duration leader_lease = absl::Seconds(6);
  // A lease is trusted for this much less than the others grant.
  absl::Duration caution = absl::Seconds(1);
  // How long one question may take.
  absl::Duration patience = absl::Seconds(2);
  // The least time between two times that a leader gives up, and how long it then leaves the lead to
  // the others, if any of them takes it.
  absl::Duration give_up_every = absl::Minutes(5);
  absl::Duration stand_back = absl::Seconds(10);
};

// The processes that have their record in one PostgreSQL database, through its tables `members`,
// `leader`, `hints` and `upstream_calls`. All times there are by the database's clock. It has a
// thread ("fleet") and a connection of its own, so that a commit that waits delays no lease; what it
// writes there may be lost by a server that crashes, but for a take-over and for calls. Who is a
// member is the store's to say: `membership` is this process's there, and outlives it.
std::unique_ptr<Fleet> MakePostgresFleet(const PostgresFleetOptions& options,
                                         const Membership& membership);

}  // namespace finetune
