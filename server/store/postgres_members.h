#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "server/store/pg_connection.h"
#include "server/store/store.h"

namespace finetune {

// The statements on `members` and `eras`: who shares the record, and since when nothing of it can
// have been lost unnoticed.

// What a process looks at when it joins, in the transaction in which it does.
struct JoinLook {
  std::string epoch;
  std::string marker_key;
  std::string server;  // The one that the current era is of (PostgresSession::server).
  StorePoint point;    // Era 0 before the first.
  bool somebody_lives = false;
  bool i_am_a_member = false;  // False also if this name was taken over from, or is forgotten.
};
// Begins the transaction, and the turn.
std::vector<PgQuery> JoinQuestions(const std::string& me);
// Nullopt if there is no record.
std::optional<JoinLook> JoinLookOf(const std::vector<PgRows>& rows);

// Begin an era after `point`, on this server. `caution`: how long submissions may be missing from
// it; zero if nothing can have been lost.
std::vector<PgQuery> EraQueries(const StorePoint& point, const std::string& server,
                                std::string_view why, absl::Duration caution);
// Make a process a member, and forget those that are long gone. `age`: how long it has been
// running.
std::vector<PgQuery> MemberQueries(const std::string& me, const std::string& name,
                                   absl::Duration lease, absl::Duration age);
// Its time is over now, so that nobody waits for that: what it owned was settled.
PgQuery LeaveQuery(const std::string& me);

// What a batch that is committed in this era says of its writer: it is the `number`th of `by`,
// which is one of `names`.
struct BatchWriter {
  uint64_t era = 0;
  std::string by;
  int64_t number = 0;
  std::vector<std::string> names;
  absl::Duration caution;
};
std::vector<PgQuery> WriterQueries(const StoreBatch& batch, const BatchWriter& writer);

}  // namespace finetune
