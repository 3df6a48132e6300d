#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/base/mutex.h"
#include "server/store/database_clock.h"
#include "server/store/fleet.h"
#include "server/store/pg_connection.h"

namespace finetune {

// What sessions of a fleet say to each other; whoever misses one looks a little later.
inline constexpr char kFleetToLeader[] = "to leader";
inline constexpr char kFleetToAll[] = "to all";
inline constexpr char kFleetWake[] = "wake";
PgQuery NotifyFleetQuery(std::string_view word);
// The word that a hint's trace is in, and the hint again; nullopt for any other word. Hints are in a
// table, and go on without what is said beside it.
std::string FleetTraceWord(const FleetHint& hint);
std::optional<FleetHint> HintOfTraceWord(std::string_view word);

// What this process wants said to the other members, until it has been. Thread-safe except for what
// only the fleet's thread may call.
class PostgresOutbox {
 public:
  void AddHint(FleetHint hint) ABSL_LOCKS_EXCLUDED(mu_);
  void AddWake() ABSL_LOCKS_EXCLUDED(mu_);
  // `done` as Fleet::WantRead's.
  void AddWant(Fleet::WantDone done) ABSL_LOCKS_EXCLUDED(mu_);
  // In place of what was not told yet.
  void SetReading(const FleetReading& reading) ABSL_LOCKS_EXCLUDED(mu_);
  // Of a term that is over.
  void DropReading() ABSL_LOCKS_EXCLUDED(mu_);

  // Fleet's thread, from here on.
  // Whoever waits for a ticket has `why`; after Close at once.
  void RefuseWants(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);
  void Close() ABSL_LOCKS_EXCLUDED(mu_);
  // The statements that say all of it; empty if there is nothing. `term` is the one that this
  // process leads in; null if it does not. OnSaid or OnNotSaid follows.
  std::vector<PgQuery> Take(const LeaderTerm* term, const DatabaseClock& clock)
      ABSL_LOCKS_EXCLUDED(mu_);
  void OnSaid(const std::vector<PgRows>& rows);
  // Nothing but tickets is lost where it may be said later; what the database refuses for good is
  // dropped.
  void OnNotSaid(const PgError& error) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Content {
    std::vector<FleetHint> hints;
    bool wake = false;
    std::vector<Fleet::WantDone> wants;
    std::optional<FleetReading> reading;
  };

  Mutex mu_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  Content waiting_ ABSL_GUARDED_BY(mu_);

  // Fleet's thread only.
  Content taken_;
};

}  // namespace finetune
