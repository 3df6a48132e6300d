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

// What one look at the tables of a fleet showed, and at the server beside them.
struct FleetLook {
  bool is_renewed = false;  // The lease of the term that the look was taken in.
  LeaderTerm term;
  absl::Duration left;  // Of the leader's lease.
  std::string reading;  // What it told last (DecodeReading).
  uint64_t wanted = 0;  // The newest ticket.
  std::vector<FleetMember> members;
  std::string leader_name;  // Empty if nobody's lease holds.
  uint64_t revision = 0;    // Of the record.
  std::vector<std::string> hints;
  CallBudget::Picture calls;
  bool is_synchronous = false;
  int64_t standbys = 0;
  // How far this machine's time of day is ahead, give or take.
  absl::Duration skew;
  absl::Duration uncertainty;
};

// Asks for all of it. Of the leader, whose term it is, the look renews the lease and takes the hints.
std::vector<PgQuery> LookQueries(const LeaderTerm* term, absl::Duration lease);
// The same where nothing can be written, be it because the disk is full.
std::vector<PgQuery> LookOnlyQueries();

// What was asked at `sent` and answered now; also sets the clock. `me` is this process's name. Nullopt
// if a table lacks its row.
std::optional<FleetLook> LookOf(const std::vector<PgRows>& rows, absl::Time sent,
                                const std::string& me, DatabaseClock& clock);

}  // namespace finetune
