#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/store/sqlite_session.h"
#include "server/store/store.h"

namespace finetune {

// The tables of jobs, changes and intents in an open store file. Errors are UNAVAILABLE /
// STORE_UNAVAILABLE unless said otherwise. Not thread-safe; the session outlives it.
class SqliteRecord {
 public:
  explicit SqliteRecord(SqliteSession& session) : s_(session) {}

  // Reads and checks all jobs and intents, and the marker key, and joins the sums of the rows into
  // `digest`. DATA_LOSS if a row is damaged.
  absl::Status Load(StoreState& state, int64_t& digest);
  // Reads and checks the log of changes. DATA_LOSS if it is damaged or has a gap.
  absl::Status LoadChanges(StoreState& state);

  // Within a transaction: writes what the batch changes here, and moves the revision and the digest
  // of `next` on. INTERNAL if the batch does not follow `next`.
  absl::Status Write(const StoreBatch& batch, SqliteMeta& next);

  // As Store.
  absl::StatusOr<std::optional<record::Intent>> FindIntent(const std::string& caller,
                                                           const std::string& request_id);
  absl::StatusOr<CreateCount> CountCreates(const std::string& caller, absl::Time since);

 private:
  absl::Status WriteChange(const StoredChange& change, bool keep, int64_t& digest);
  absl::Status WriteRecord(const StoredChange& change, int64_t& digest);
  absl::Status WriteIntent(const record::Intent& intent, int64_t& digest);
  absl::Status Forget(SqliteStatement& statement, absl::Time before, int64_t& digest);
  absl::Status LoadRecords(StoreState& state, int64_t& digest);
  absl::Status LoadIntents(StoreState& state, int64_t& digest);

  SqliteSession& s_;
};

}  // namespace finetune
