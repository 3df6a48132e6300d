#include "server/store/postgres_schema.h"

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

// Held until the tables are as they should be. Any number will do, as long as all use the same.
constexpr char kLock[] = "SELECT pg_advisory_xact_lock(7213640917305586)";

// Times are nanoseconds since 1970: as exact as what was written. Small tables that are updated all
// day are vacuumed early, or they swell.
constexpr const char* kTables[] = {
    "CREATE TABLE IF NOT EXISTS finetune.meta (one bool PRIMARY KEY DEFAULT true CHECK (one), "
    "epoch text NOT NULL, era bigint NOT NULL, seq bigint NOT NULL, revision bigint NOT NULL, "
    "server text NOT NULL, schema_form bigint NOT NULL, least_form bigint NOT NULL, "
    "fleet_format bigint NOT NULL, "
    // 32 random bytes.
    "marker_key bytea NOT NULL DEFAULT decode(replace(concat(gen_random_uuid(), "
    "gen_random_uuid()), '-', ''), 'hex')) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = "
    "0, "
    "autovacuum_vacuum_threshold = 200)",
    "CREATE TABLE IF NOT EXISTS finetune.eras (era bigint PRIMARY KEY, number bigserial, "
    "base_revision bigint NOT NULL, base_seq bigint NOT NULL, began bigint NOT NULL, "
    "why text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS finetune.fine_tunes (first_revision bigint PRIMARY KEY, "
    "id text NOT NULL UNIQUE, revision bigint NOT NULL, record bytea NOT NULL)",
    "ALTER TABLE finetune.fine_tunes ALTER record SET STORAGE EXTERNAL",
    "CREATE TABLE IF NOT EXISTS finetune.changes (revision bigint PRIMARY KEY, seq bigint NOT "
    "NULL, "
    "time bigint NOT NULL, id text NOT NULL, after bytea NOT NULL, before bytea, "
    "forgotten bool NOT NULL) WITH (autovacuum_vacuum_scale_factor = 0.05)",
    "CREATE TABLE IF NOT EXISTS finetune.intents (caller text NOT NULL, request_id text NOT NULL, "
    "state bigint NOT NULL, marker text NOT NULL, seq bigint NOT NULL, "
    "create_time bigint NOT NULL, settle_time bigint, intent bytea NOT NULL, "
    "PRIMARY KEY (caller, request_id))",
    "CREATE INDEX IF NOT EXISTS intents_by_seq ON finetune.intents (seq)",
    "CREATE INDEX IF NOT EXISTS intents_by_create_time ON finetune.intents "
    "(caller, create_time, state)",
    "CREATE INDEX IF NOT EXISTS intents_by_settle_time ON finetune.intents (settle_time) "
    "WHERE settle_time IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS intents_by_state ON finetune.intents (state) WHERE state < 3",
    "CREATE TABLE IF NOT EXISTS finetune.members (id text PRIMARY KEY, last_batch bigint NOT NULL, "
    "seen bigint NOT NULL) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, "
    "autovacuum_vacuum_threshold = 200)",
};

absl::Status Refusal(const PgConnection& connection, const PgError& error) {
  // insufficient_privilege
  if (error.state == "42501") {
    return absl::FailedPreconditionError(
        absl::StrCat("role ", connection.user(), " may not make the tables in database ",
                     connection.database(), " (", error.message, "): GRANT CREATE ON DATABASE ",
                     connection.database(), " TO ", connection.user()));
  }
  if (error.broken()) return absl::UnavailableError(error.message);
  return absl::FailedPreconditionError(absl::StrCat("the tables cannot be made: ", error.message));
}

}  // namespace

absl::Status PreparePostgresTables(PgConnection& connection, const std::string& epoch,
                                   absl::Time deadline) {
  std::vector<PgRows> rows;
  const auto run = [&](const std::vector<PgQuery>& queries) {
    return connection.Run(queries, deadline, rows);
  };
  PgError error =
      run({{"SELECT count(*), (SELECT count(*) FROM pg_namespace WHERE nspname = "
            "'finetune') FROM pg_tables WHERE schemaname = 'finetune' AND tablename IN "
            "('meta', 'members')"}});
  const bool made = error.ok() && rows[0].Number(0, 0) == 2;
  // A role that owns the schema need not be allowed to make one.
  const bool has_schema = error.ok() && rows[0].Number(0, 1) == 1;
  if (error.ok() && !made) {
    std::vector<PgQuery> queries = {{"BEGIN"}, {kLock}};
    if (!has_schema) queries.push_back({"CREATE SCHEMA IF NOT EXISTS finetune"});
    for (const char* sql : kTables) queries.push_back({sql});
    queries.push_back(
        {"INSERT INTO finetune.meta VALUES (true, $1::text, 0, 0, 0, '', "
         "$2::bigint, 1, 1) ON CONFLICT DO NOTHING",
         {PgValue::Text(epoch), PgValue::Number(kPostgresForm)}});
    queries.push_back({"COMMIT"});
    error = run(queries);
    if (!error.ok() && !error.broken()) (void)run({{"ROLLBACK"}});
    // PgError is what is told, not the rollback's.
  }
  if (!error.ok()) return Refusal(connection, error);
  error = run({{"SELECT schema_form, least_form FROM finetune.meta"}});
  if (!error.ok()) return Refusal(connection, error);
  if (rows[0].size() != 1)
    return absl::DataLossError(
        "the table finetune.meta does not have its one row: restore a backup");
  if (rows[0].Number(0, 1) > kPostgresForm) {
    return absl::FailedPreconditionError(
        absl::StrCat("its tables are of a newer version (form ", rows[0].Number(0, 0),
                     "), which works beside form ", rows[0].Number(0, 1),
                     " at least; this one knows ", kPostgresForm));
  }
  return absl::OkStatus();
}

}  // namespace finetune
