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

// The words that sessions of a fleet send to each other. A session that misses one finds out at its
// next look.
inline constexpr char kFleetToLeader[] = "to leader";
inline constexpr char kFleetToAll[] = "to all";
inline constexpr char kFleetWake[] = "wake";
PgQuery NotifyFleetQuery(std::string_view word);
// The word that carries the trace of a hint, and the hint from it; nullopt for any other word. The
// hint itself is in a table, and is not lost with the word.
std::string FleetTraceWord(const FleetHint& hint);
std::optional<FleetHint> HintOfTraceWord(std::string_view word);

// Holds what this process wants to tell the other members until they have been told. Thread-safe
// except for what only the fleet's thread may call.
class PostgresOutbox {
 public:
  void AddHint(FleetHint hint) ABSL_LOCKS_EXCLUDED(mu_);
  void AddWake() ABSL_LOCKS_EXCLUDED(mu_);
  // `done` as Fleet::WantRead's.
  void AddWant(Fleet::WantDone done) ABSL_LOCKS_EXCLUDED(mu_);
  // Replaces a reading that was not told yet.
  void SetReading(const FleetReading& reading) ABSL_LOCKS_EXCLUDED(mu_);
  // Drops it when its term is over.
  void DropReading() ABSL_LOCKS_EXCLUDED(mu_);

  // From here on: fleet's thread only.
  // Fails all that wait for a ticket with `why`; after Close, all others at once.
  void RefuseWants(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);
  void Close() ABSL_LOCKS_EXCLUDED(mu_);
  // The statements that tell all of it; none if there is nothing. `term` is the one in which this
  // process leads, or null. Call OnSaid or OnNotSaid next.
  std::vector<PgQuery> Take(const LeaderTerm* term, const DatabaseClock& clock)
      ABSL_LOCKS_EXCLUDED(mu_);
  void OnSaid(const std::vector<PgRows>& rows);
  // Keeps everything except tickets for the next time if the error may pass; drops what the
  // database refuses for good.
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
