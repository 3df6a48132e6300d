#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/pg_connection.h"
#include "server/store/store.h"

namespace finetune {

// Why a query failed, in the form that the recorder's callers get: UNAVAILABLE / STORE_UNAVAILABLE.
absl::Status PgUnavailable(const PgError& error);

// A connection on which the record may be written. It holds a lock in the server, which gateways
// share and which a process that moves the record holds alone. Losing the connection loses the
// lock. Not thread-safe.
class PostgresSession {
 public:
  enum class Use { kAlone, kShared };

  // Connects, sets what every transaction needs, makes the tables and takes the lock, for which it
  // waits at most `lock_patience`. Errors as OpenPostgresStore.
  static absl::StatusOr<std::unique_ptr<PostgresSession>> Open(const PgTarget& target, Use use,
                                                               absl::Time deadline,
                                                               absl::Duration lock_patience);

  // A connection beside the record's own: without its lock, and for tables that exist. Errors as
  // Open.
  static absl::StatusOr<std::unique_ptr<PostgresSession>> OpenBeside(const PgTarget& target,
                                                                     absl::Time deadline);

  PgConnection& connection() { return *connection_; }

  // Identifies this server until it stops. Another one, or the same one restarted, may lack commits
  // or have some that nobody was told about.
  const std::string& server() const { return server_; }

 private:
  absl::Status CheckPooler(const PgTarget& target, absl::Time deadline);
  absl::Status CheckServer(absl::Time deadline);
  absl::Status Set(absl::Time deadline);
  absl::Status TakeLock(Use use, absl::Time deadline);

  std::unique_ptr<PgConnection> connection_;
  std::string server_;
};

}  // namespace finetune
