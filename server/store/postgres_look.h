#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/base/call_budget.h"
#include "server/store/database_clock.h"
#include "server/store/fleet.h"
#include "server/store/pg_connection.h"

namespace finetune {

// What one look at the tables of a fleet, and at the server, showed.
struct FleetLook {
  bool is_renewed = false;  // Whether the look renewed the lease of this process's term.
  LeaderTerm term;
  absl::Duration left;  // What is left of the leader's lease.
  std::string reading;  // What the leader told last (DecodeReading).
  uint64_t wanted = 0;  // The newest ticket.
  std::vector<FleetMember> members;
  std::string leader_name;  // Empty if nobody's lease holds.
  uint64_t revision = 0;    // The record's latest.
  std::vector<std::string> hints;
  CallBudget::Picture calls;
  bool is_synchronous = false;
  int64_t standbys = 0;
  // How far this machine's time of day is ahead, give or take.
  absl::Duration skew;
  absl::Duration uncertainty;
};

// The statements of a look. For the leader, whose `term` is then not null, they also renew the
// lease and take the hints.
std::vector<PgQuery> LookQueries(const LeaderTerm* term, absl::Duration lease);
// The same for a database that cannot be written, for instance because its disk is full.
std::vector<PgQuery> LookOnlyQueries();

// The look that was asked for at `sent` and answered now; also sets the clock. `me` is this
// process's name. Nullopt if a table lacks its row.
std::optional<FleetLook> LookOf(const std::vector<PgRows>& rows, absl::Time sent,
                                const std::string& me, DatabaseClock& clock);

}  // namespace finetune
