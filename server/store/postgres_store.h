#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/pg_connection.h"
#include "server/store/store.h"

namespace finetune {

struct PostgresOptions {
  PgTarget target;
  // How long one question may take.
  absl::Duration patience = absl::Seconds(5);
  // How long a start waits for the end of a move.
  absl::Duration lock_patience = absl::Seconds(10);
  // Shown to operators, in the table of members.
  std::string name;
  // How often it looks for others' commits, even without a notification.
  absl::Duration poll_interval = absl::Seconds(1);
  // How long a gateway counts as alive without a sign of life.
  absl::Duration lease = kMemberLease;
  // A list of Segmind's shows every submission that was made at least this long before it began.
  absl::Duration caution = absl::Minutes(3);
};

// The record in a PostgreSQL database, in the schema `finetune`, for any number of gateways that
// share it. A start where no gateway is alive, and every restart or change of the server, begins an
// era. FAILED_PRECONDITION, in one clear sentence, if it is a standby, if a pooler that shares
// connections between transactions is in between, if a right is missing, or if the record is being
// moved; UNAVAILABLE if the database cannot be reached.
absl::StatusOr<std::unique_ptr<Store>> OpenPostgresStore(const PostgresOptions& options);

}  // namespace finetune
