#include "server/store/postgres_schema.h"

#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "server/store/moved_to.h"
#include "server/store/postgres_ledger.h"

namespace finetune {
namespace {

// Held until the tables have their form. Any number will do, as long as all versions use the same.
constexpr char kLock[] = "SELECT pg_advisory_xact_lock(7213640917305586)";

#define SMALL_AND_BUSY                                           \
  " WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, " \
  "autovacuum_vacuum_threshold = 200)"

// Times are nanoseconds since 1970: as exact as what was written. Keys compare as bytes: an index
// over a language's order is wrong after an update of the system that changes that order. Small
// tables that are updated all day are vacuumed early, or they swell.
constexpr const char* kForm1[] = {
    "CREATE TABLE IF NOT EXISTS finetune.meta (one bool PRIMARY KEY DEFAULT true CHECK (one), "
    "epoch text NOT NULL, era bigint NOT NULL, seq bigint NOT NULL, revision bigint NOT NULL, "
    "server text NOT NULL, schema_form bigint NOT NULL, least_form bigint NOT NULL, "
    "fleet_format bigint NOT NULL, "
    // 32 random bytes.
    "marker_key bytea NOT NULL DEFAULT decode(replace(concat(gen_random_uuid(), "
    "gen_random_uuid()), '-', ''), 'hex'))" SMALL_AND_BUSY,
    "CREATE TABLE IF NOT EXISTS finetune.eras (era bigint PRIMARY KEY, number bigserial, "
    "base_revision bigint NOT NULL, base_seq bigint NOT NULL, began bigint NOT NULL, "
    "why text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS finetune.fine_tunes (first_revision bigint PRIMARY KEY, "
    "id text COLLATE \"C\" NOT NULL UNIQUE, revision bigint NOT NULL, record bytea NOT NULL)",
    "ALTER TABLE finetune.fine_tunes ALTER record SET STORAGE EXTERNAL",
    "CREATE TABLE IF NOT EXISTS finetune.changes (revision bigint PRIMARY KEY, seq bigint NOT "
    "NULL, "
    "time bigint NOT NULL, id text NOT NULL, after bytea NOT NULL, before bytea, "
    "forgotten bool NOT NULL) WITH (autovacuum_vacuum_scale_factor = 0.05)",
    "CREATE TABLE IF NOT EXISTS finetune.intents (caller text COLLATE \"C\" NOT NULL, "
    "request_id text COLLATE \"C\" NOT NULL, "
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
    "seen bigint NOT NULL)" SMALL_AND_BUSY,
};

// For several gateways on one record: see fleet.h.
constexpr const char* kForm2[] = {
    // Where the record was moved to; empty while it is here.
    "ALTER TABLE finetune.meta ADD COLUMN IF NOT EXISTS moved_to text NOT NULL DEFAULT ''",
    "ALTER TABLE finetune.members ADD COLUMN IF NOT EXISTS name text NOT NULL DEFAULT '', "
    "ADD COLUMN IF NOT EXISTS version text NOT NULL DEFAULT '', "
    "ADD COLUMN IF NOT EXISTS started bigint NOT NULL DEFAULT 0, "
    "ADD COLUMN IF NOT EXISTS expires bigint NOT NULL DEFAULT 0, "
    "ADD COLUMN IF NOT EXISTS seen_era bigint NOT NULL DEFAULT 0",
    // The members that have yet to bring back what the era before lost, and until when no new
    // submission is accepted because of them.
    "ALTER TABLE finetune.eras ADD COLUMN IF NOT EXISTS awaits text[] NOT NULL DEFAULT '{}', "
    "ADD COLUMN IF NOT EXISTS cautious_until bigint NOT NULL DEFAULT 0",
    // `reading` is a record::FleetReading.
    "CREATE TABLE IF NOT EXISTS finetune.leader (one bool PRIMARY KEY DEFAULT true CHECK (one), "
    "term bigint NOT NULL DEFAULT 0, holder text NOT NULL DEFAULT '', "
    "expires bigint NOT NULL DEFAULT 0, reading bytea NOT NULL DEFAULT '', "
    "wanted bigint NOT NULL DEFAULT 0)" SMALL_AND_BUSY,
    "INSERT INTO finetune.leader DEFAULT VALUES ON CONFLICT DO NOTHING",
    "CREATE TABLE IF NOT EXISTS finetune.hints (upstream_id text COLLATE \"C\" PRIMARY KEY, "
    "at bigint NOT NULL)" SMALL_AND_BUSY,
    // One row for each call that the account allows in a minute.
    "CREATE TABLE IF NOT EXISTS finetune.upstream_calls (slot bigint PRIMARY KEY, at bigint NOT "
    "NULL DEFAULT 0, kind bigint NOT NULL DEFAULT 0)" SMALL_AND_BUSY,
    "CREATE TABLE IF NOT EXISTS finetune.upstream_hold (one bool PRIMARY KEY DEFAULT true CHECK "
    "(one), until bigint NOT NULL DEFAULT 0)" SMALL_AND_BUSY,
    "INSERT INTO finetune.upstream_hold DEFAULT VALUES ON CONFLICT DO NOTHING",
};

// What each form adds to the one before. The third form added the ledger, which older versions
// would not keep up to date.
constexpr int64_t kLedgerForm = 3;
const absl::Span<const char* const> kForms[] = {kForm1, kForm2, kPostgresLedgerTables};
static_assert(std::size(kForms) == kPostgresForm);

// How often to try again for locks that others hold for a moment while they commit.
constexpr int kTries = 5;

absl::Status Refusal(const PgConnection& connection, const PgError& error) {
  // insufficient_privilege
  if (error.state == "42501" && absl::StrContains(error.message, "finetune")) {
    return absl::FailedPreconditionError(
        absl::StrCat("role ", connection.user(), " may not use the tables in database ",
                     connection.database(), " (", error.message,
                     "): give the role that made them, or GRANT that role TO ", connection.user()));
  }
  if (error.state == "42501") {
    return absl::FailedPreconditionError(
        absl::StrCat("role ", connection.user(), " may not make the tables in database ",
                     connection.database(), " (", error.message, "): GRANT CREATE ON DATABASE ",
                     connection.database(), " TO ", connection.user()));
  }
  if (error.broken() || error.passes()) return absl::UnavailableError(error.words());
  return absl::FailedPreconditionError(absl::StrCat("the tables cannot be made: ", error.message));
}

struct Form {
  bool has_schema = false;
  int64_t number = 0;  // 0: there are no tables yet.
};

// rows[0]: whether there is a schema; rows[1]: the form of its tables.
PgError AskForForm(PgConnection& connection, absl::Time deadline, std::vector<PgRows>& rows) {
  PgError error = connection.Run(
      {{"SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'finetune'), "
        "(SELECT count(*) FROM pg_tables WHERE schemaname = 'finetune' AND tablename = 'meta')"}},
      deadline, rows);
  if (!error.ok()) return error;
  const PgRows found = rows[0];
  const bool has_meta = found.Number(0, 1) == 1;
  // A table without its row is damage, not a record that is still to be made.
  error =
      connection.Run({{has_meta ? "SELECT coalesce(max(schema_form), $1::bigint) FROM finetune.meta"
                                : "SELECT 0 * $1::bigint",
                       {PgValue::Number(kPostgresForm)}}},
                     deadline, rows);
  if (error.ok()) rows.insert(rows.begin(), found);
  return error;
}

template <typename Message>
void AddAll(const PgRows& rows, LedgerSum& ledger) {
  for (int i = 0; i < rows.size(); ++i) {
    Message message;
    const std::string_view bytes = rows.Bytes(i, 0);
    // A record that cannot be read is refused by the load that follows.
    if (message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) ledger.Add(message);
  }
}

// Writes the ledger of the jobs and intents that are there, in the transaction that makes its
// tables. Others' commits wait meanwhile.
PgError FillLedger(PgConnection& connection, absl::Time deadline) {
  std::vector<PgRows> rows;
  PgError error = connection.Run({{"SELECT schema_form FROM finetune.meta FOR UPDATE"},
                                  {"SELECT record FROM finetune.fine_tunes"},
                                  {"SELECT intent FROM finetune.intents WHERE state < 3"}},
                                 deadline, rows);
  if (!error.ok()) return error;
  // A new record is empty, and one that another process has raised in the meantime has its ledger.
  if (rows[0].size() != 1 || rows[0].Number(0, 0) >= kLedgerForm) return {};
  LedgerSum ledger;
  AddAll<record::FineTuneRecord>(rows[1], ledger);
  AddAll<record::Intent>(rows[2], ledger);
  StoreBatch batch;
  batch.spending = ledger.rows();
  // Left from before the record went back to the earlier form.
  std::vector<PgQuery> queries = {{"DELETE FROM finetune.spending"},
                                  {"DELETE FROM finetune.totals"}};
  AddLedgerQueries(batch, queries);
  return connection.Run(queries, deadline, rows);
}

// In one transaction, so that all of it happens or nothing.
PgError Raise(PgConnection& connection, const Form& form, const std::string& epoch,
              absl::Time deadline) {
  std::vector<PgQuery> queries = {{"BEGIN"}, {"SET LOCAL lock_timeout = '2s'"}, {kLock}};
  // A role may own the schema without being allowed to create one.
  if (!form.has_schema) queries.push_back({"CREATE SCHEMA IF NOT EXISTS finetune"});
  for (int64_t number = form.number; number < kPostgresForm; ++number)
    for (const char* sql : kForms[number]) queries.push_back({sql});
  std::vector<PgRows> rows;
  PgError error = connection.Run(queries, deadline, rows);
  if (error.ok() && form.number < kLedgerForm) error = FillLedger(connection, deadline);
  queries.clear();
  queries.push_back(
      {"INSERT INTO finetune.meta VALUES (true, $1::text, 0, 0, 0, '', $2::bigint, $3::bigint, 1) "
       "ON CONFLICT (one) DO UPDATE SET schema_form = greatest(meta.schema_form, "
       "excluded.schema_form), least_form = greatest(meta.least_form, excluded.least_form)",
       {PgValue::Text(epoch), PgValue::Number(kPostgresForm), PgValue::Number(kLedgerForm)}});
  queries.push_back({"COMMIT"});
  if (error.ok()) error = connection.Run(queries, deadline, rows);
  if (!error.ok() && !error.broken())
    (void)connection.Run({{"ROLLBACK"}}, deadline, rows);  // The first error is what is told.
  return error;
}

}  // namespace

absl::Status PreparePostgresTables(PgConnection& connection, const std::string& epoch,
                                   absl::Time deadline, bool accept_unfinished_move) {
  std::vector<PgRows> rows;
  for (int tried = 1;; ++tried) {
    PgError error = AskForForm(connection, deadline, rows);
    if (!error.ok()) return Refusal(connection, error);
    const Form form{.has_schema = rows[0].Number(0, 0) == 1, .number = rows[1].Number(0, 0)};
    if (form.number >= kPostgresForm) break;
    error = Raise(connection, form, epoch, deadline);
    if (error.ok()) break;
    // lock_not_available; deadlock_detected
    const bool passes = error.state == "55P03" || error.state == "40P01";
    if (passes && tried < kTries) continue;
    return Refusal(connection, error);
  }
  const PgError error = connection.Run(
      {{"SELECT schema_form, least_form, moved_to FROM finetune.meta"}}, deadline, rows);
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
  const std::string_view moved_to = rows[0].Bytes(0, 2);
  if (!moved_to.empty() && (!accept_unfinished_move || UnderWayTo(moved_to).empty()))
    return absl::FailedPreconditionError(absl::StrCat("what was there ", WhyNotHere(moved_to)));
  return absl::OkStatus();
}

}  // namespace finetune
