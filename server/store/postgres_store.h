#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/pg_connection.h"
#include "server/store/store.h"

namespace finetune {

// Where the record is, and how long to wait for what.
struct PostgresOptions {
  PgTarget target;
  // How long one question may take.
  absl::Duration patience = absl::Seconds(5);
  // How long a start waits for a move to end.
  absl::Duration lock_patience = absl::Seconds(10);
  // This gateway's name in the table of members, for operators.
  std::string name;
  // How often it looks for commits of others, even without a notification.
  absl::Duration poll_interval = absl::Seconds(1);
  // How long a gateway counts as alive without a sign of life.
  absl::Duration lease = kMemberLease;
  // How long before the beginning of a list a submission must have been made for Segmind to show it
  // for certain.
  absl::Duration caution = absl::Minutes(3);
};

// Opens the record in the schema `finetune` of a PostgreSQL database, which any number of gateways
// may share. A start while no gateway is alive, and every restart or change of the server, begins
// an era. FAILED_PRECONDITION, in one clear sentence, if the server is a standby, if a pooler
// between shares connections between transactions, if a right is missing, or if the record is being
// moved; UNAVAILABLE if the database cannot be reached.
absl::StatusOr<std::unique_ptr<Store>> OpenPostgresStore(const PostgresOptions& options);

}  // namespace finetune
