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
  // How long a start waits for a gateway that is just ending, or whose connection the server has
  // yet to miss.
  absl::Duration lock_patience = absl::Seconds(10);
  // Whether other gateways may use the record, too.
  bool shared = false;
  // Shown to operators, in the table of members.
  std::string name;
  // How often others' commits are looked for, whatever was notified.
  absl::Duration poll_interval = absl::Seconds(1);
  // How long a gateway counts as alive without a sign of life.
  absl::Duration lease = kMemberLease;
  // What was submitted, by whomever, is shown by lists of Segmind's that begin this much later.
  absl::Duration caution = absl::Minutes(3);
};

// The record in a PostgreSQL database, in the schema `finetune`, for gateways that share it or for
// one alone, which holds a lock of the server's for as long as it is connected. A start where no
// gateway is alive, and every restart or change of the server, begins an era. FAILED_PRECONDITION,
// in one clear sentence, if it is a standby, if a pooler that shares connections between
// transactions is in between, if a right is missing, or if another gateway has the record alone;
// UNAVAILABLE if the database cannot be reached.
absl::StatusOr<std::unique_ptr<Store>> OpenPostgresStore(const PostgresOptions& options);

}  // namespace finetune
