#include "server/store/sqlite_schema.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/time_proto.h"
#include "server/store/row_sum.h"

namespace finetune {
namespace {

// Rows of fine_tunes are in the order in which they are loaded, by first revision. In every table,
// `sum` is the row's checksum.
constexpr char kSchema[] = R"(
  CREATE TABLE meta (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    epoch TEXT NOT NULL,
    revision INTEGER NOT NULL,
    seq INTEGER NOT NULL DEFAULT 0,
    digest INTEGER NOT NULL DEFAULT 0,
    lost TEXT NOT NULL DEFAULT '',
    moved_to TEXT NOT NULL DEFAULT '',
    sum INTEGER NOT NULL DEFAULT 0);
  CREATE TABLE eras (
    number INTEGER PRIMARY KEY,
    id INTEGER NOT NULL,
    base_revision INTEGER NOT NULL,
    base_seq INTEGER NOT NULL,
    began INTEGER NOT NULL,
    why TEXT NOT NULL,
    sum INTEGER NOT NULL);
  CREATE TABLE fine_tunes (
    first_revision INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    record BLOB NOT NULL,
    sum INTEGER NOT NULL DEFAULT 0);
  CREATE TABLE changes (
    revision INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    id TEXT NOT NULL,
    after BLOB NOT NULL,
    before BLOB,
    forgotten INTEGER NOT NULL DEFAULT 0,
    sum INTEGER NOT NULL DEFAULT 0);
  CREATE TABLE intents (
    caller TEXT NOT NULL,
    request_id TEXT NOT NULL,
    state INTEGER NOT NULL,
    marker TEXT NOT NULL,
    settle_time INTEGER,
    intent BLOB NOT NULL,
    create_time INTEGER NOT NULL DEFAULT 0,
    sum INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (caller, request_id)) WITHOUT ROWID;
  CREATE INDEX intents_by_state ON intents (state) WHERE state < 3;
  CREATE INDEX intents_by_settle_time ON intents (settle_time) WHERE settle_time IS NOT NULL;
  CREATE INDEX intents_by_create_time ON intents (caller, create_time, state);
)";

// Form 4 added the ledger (SpendingKey, TotalKey).
constexpr char kLedger[] = R"(
  CREATE TABLE spending (
    quarter INTEGER NOT NULL,
    caller TEXT NOT NULL,
    team TEXT NOT NULL,
    model TEXT NOT NULL,
    labels TEXT NOT NULL,
    unit TEXT NOT NULL,
    outcome INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (quarter, caller, team, model, labels, unit, outcome)) WITHOUT ROWID;
  CREATE TABLE totals (
    subject TEXT NOT NULL,
    until INTEGER NOT NULL,
    start INTEGER NOT NULL,
    measure TEXT NOT NULL,
    amount INTEGER NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (subject, until, start, measure)) WITHOUT ROWID;
)";

// Form 2 added the create_time of intents as a column.
constexpr char kToForm2[] = R"(
  ALTER TABLE intents ADD COLUMN create_time INTEGER NOT NULL DEFAULT 0;
  CREATE INDEX intents_by_create_time ON intents (caller, create_time, state);
)";

// Form 3 added the rows' checksums and the record's eras.
constexpr char kToForm3[] = R"(
  ALTER TABLE meta ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE meta ADD COLUMN digest INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE meta ADD COLUMN lost TEXT NOT NULL DEFAULT '';
  ALTER TABLE meta ADD COLUMN moved_to TEXT NOT NULL DEFAULT '';
  ALTER TABLE meta ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
  CREATE TABLE eras (
    number INTEGER PRIMARY KEY,
    id INTEGER NOT NULL,
    base_revision INTEGER NOT NULL,
    base_seq INTEGER NOT NULL,
    began INTEGER NOT NULL,
    why TEXT NOT NULL,
    sum INTEGER NOT NULL);
  ALTER TABLE fine_tunes ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE changes ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE changes ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE intents ADD COLUMN sum INTEGER NOT NULL DEFAULT 0;
)";

constexpr char kPutEra[] = "INSERT INTO eras VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

// Whatever is older than eras belongs to the first one.
SqliteError PutFirstEra(SqliteConnection& db) {
  const Era era{.id = MakeEraId(), .began = absl::UnixEpoch(), .why = "the record was made"};
  SqliteStatement put;
  SqliteError error = db.Prepare(kPutEra, put);
  if (!error.ok()) return error;
  return put.Bind(1, int64_t{1})
      .Bind(2, static_cast<int64_t>(era.id))
      .Bind(3, int64_t{0})
      .Bind(4, int64_t{0})
      .Bind(5, int64_t{0})
      .Bind(6, era.why)
      .Bind(7, SumOfEra(1, era))
      .Run();
}

// Runs `update`, with the key and the sum as parameters, for each row of `select`, whose first
// column is the row's key and whose others `sum_of` reads.
template <typename SumOf>
SqliteError PutSums(SqliteConnection& db, const char* select_sql, const char* update_sql,
                    const SumOf& sum_of) {
  SqliteStatement select, update;
  SqliteError error = db.Prepare(select_sql, select);
  if (error.ok()) error = db.Prepare(update_sql, update);
  std::vector<std::pair<int64_t, int64_t>> sums;
  while (error.ok() && select.Step()) sums.emplace_back(select.Number(0), sum_of(select));
  if (error.ok()) error = select.Reset();
  for (const auto& [key, sum] : sums) {
    if (!error.ok()) return error;
    error = update.Bind(1, key).Bind(2, sum).Run();
  }
  return error;
}

struct IntentRow {
  std::string caller;
  std::string request_id;
  std::string bytes;
};

// Joins `change`, the sums of further rows, into the record's digest.
SqliteError ChangeDigest(SqliteConnection& db, int64_t change) {
  SqliteStatement select, update;
  SqliteError error =
      db.Prepare("SELECT epoch, revision, seq, digest, lost, moved_to FROM meta", select);
  SqliteMeta meta;
  if (error.ok() && select.Step()) {
    meta.epoch = select.Blob(0);
    meta.revision = static_cast<uint64_t>(select.Number(1));
    meta.seq = static_cast<uint64_t>(select.Number(2));
    meta.digest = select.Number(3) ^ change;
    meta.lost = select.Blob(4);
    meta.moved_to = select.Blob(5);
  }
  if (error.ok()) error = select.Reset();
  if (error.ok()) error = db.Prepare("UPDATE meta SET digest = ?1, sum = ?2", update);
  return error.ok() ? update.Bind(1, meta.digest).Bind(2, meta.Sum()).Run() : error;
}

// Sets the columns that repeat parts of an intent, in all forms.
SqliteError PutIntentColumns(SqliteConnection& db, int64_t& digest) {
  SqliteStatement select, update;
  SqliteError error = db.Prepare("SELECT caller, request_id, intent FROM intents", select);
  std::vector<IntentRow> rows;
  while (error.ok() && select.Step()) {
    rows.push_back(
        {std::string(select.Blob(0)), std::string(select.Blob(1)), std::string(select.Blob(2))});
  }
  if (error.ok()) error = select.Reset();
  if (error.ok()) {
    error = db.Prepare(
        "UPDATE intents SET create_time = ?3, sum = ?4 WHERE caller = ?1 AND request_id = ?2",
        update);
  }
  for (const IntentRow& row : rows) {
    if (!error.ok()) return error;
    record::Intent intent;
    // One that cannot be read is refused by the load that follows.
    intent.ParseFromString(row.bytes);
    const int64_t sum = SumOfIntent(row.caller, row.request_id, row.bytes);
    digest ^= sum;
    error = update.Bind(1, row.caller)
                .Bind(2, row.request_id)
                .Bind(3, IntentColumns(intent).create_time)
                .Bind(4, sum)
                .Run();
  }
  return error;
}

SqliteError PutAllSums(SqliteConnection& db) {
  SqliteMeta meta;
  SqliteError error = PutSums(
      db, "SELECT first_revision, id, record FROM fine_tunes",
      "UPDATE fine_tunes SET sum = ?2 WHERE first_revision = ?1", [&](const SqliteStatement& row) {
        const int64_t sum = SumOfRecord(row.Number(0), row.Blob(1), row.Blob(2));
        meta.digest ^= sum;
        return sum;
      });
  if (error.ok()) {
    error =
        PutSums(db, "SELECT revision, time, id, after, before FROM changes",
                "UPDATE changes SET sum = ?2 WHERE revision = ?1", [](const SqliteStatement& row) {
                  return SumOfChange(row.Number(0), row.Number(1), row.Blob(2), row.Blob(3),
                                     row.Blob(4), false);
                });
  }
  if (error.ok()) error = PutIntentColumns(db, meta.digest);
  SqliteStatement select, update;
  if (error.ok()) error = db.Prepare("SELECT epoch, revision FROM meta", select);
  if (!error.ok()) return error;
  if (select.Step()) {
    meta.epoch = select.Blob(0);
    meta.revision = static_cast<uint64_t>(select.Number(1));
  }
  error = select.Reset();
  if (error.ok()) error = db.Prepare("UPDATE meta SET digest = ?1, sum = ?2", update);
  return error.ok() ? update.Bind(1, meta.digest).Bind(2, meta.Sum()).Run() : error;
}

// Writes the ledger of the jobs and intents that are there.
SqliteError PutLedger(SqliteConnection& db) {
  LedgerSum ledger;
  SqliteStatement jobs, intents, put;
  SqliteError error = db.Prepare("SELECT record FROM fine_tunes", jobs);
  while (error.ok() && jobs.Step()) {
    record::FineTuneRecord record;
    const std::string_view bytes = jobs.Blob(0);
    // One that cannot be read is refused by the load that follows.
    if (record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) ledger.Add(record);
  }
  if (error.ok()) error = jobs.Reset();
  if (error.ok()) error = db.Prepare("SELECT intent FROM intents WHERE state < 3", intents);
  while (error.ok() && intents.Step()) {
    record::Intent intent;
    const std::string_view bytes = intents.Blob(0);
    if (intent.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) ledger.Add(intent);
  }
  if (error.ok()) error = intents.Reset();
  if (error.ok()) error = db.Prepare(kPutSpending, put);
  int64_t digest = 0;
  for (const auto& [key, count] : ledger.rows()) {
    if (!error.ok()) return error;
    digest ^= SumOfSpending(key, count);
    error = BindSpending(put, key, count).Run();
  }
  return error.ok() ? ChangeDigest(db, digest) : error;
}

}  // namespace

int64_t SqliteMeta::Sum() const {
  return RowSum("meta")
      .Add(epoch)
      .Add(static_cast<int64_t>(revision))
      .Add(static_cast<int64_t>(seq))
      .Add(digest)
      .Add(lost)
      .Add(moved_to)
      .value();
}

int64_t SumOfEra(int64_t number, const Era& era) {
  return RowSum("eras")
      .Add(number)
      .Add(static_cast<int64_t>(era.id))
      .Add(static_cast<int64_t>(era.base_revision))
      .Add(static_cast<int64_t>(era.base_seq))
      .Add(absl::ToUnixNanos(era.began))
      .Add(era.why)
      .value();
}

int64_t SumOfRecord(int64_t first_revision, std::string_view id, std::string_view record) {
  return RowSum("fine_tunes").Add(first_revision).Add(id).Add(record).value();
}

int64_t SumOfChange(int64_t revision, int64_t time, std::string_view id, std::string_view after,
                    std::string_view before, bool forgotten) {
  return RowSum("changes")
      .Add(revision)
      .Add(time)
      .Add(id)
      .Add(after)
      .Add(before)
      .Add(int64_t{forgotten})
      .value();
}

int64_t SumOfIntent(std::string_view caller, std::string_view request_id, std::string_view intent) {
  return RowSum("intents").Add(caller).Add(request_id).Add(intent).value();
}

int64_t SumOfSpending(const SpendingKey& key, const SpendingCount& count) {
  return RowSum("spending")
      .Add(key.quarter)
      .Add(key.caller)
      .Add(key.team)
      .Add(key.model)
      .Add(key.labels)
      .Add(key.unit)
      .Add(static_cast<int64_t>(key.outcome))
      .Add(count.jobs)
      .Add(count.micros)
      .value();
}

int64_t SumOfTotal(const TotalKey& key, int64_t amount) {
  return RowSum("totals")
      .Add(key.subject)
      .Add(key.end)
      .Add(key.start)
      .Add(key.measure)
      .Add(amount)
      .value();
}

SqliteStatement& BindSpending(SqliteStatement& put, const SpendingKey& key,
                              const SpendingCount& count) {
  return put.Bind(1, key.quarter)
      .Bind(2, key.caller)
      .Bind(3, key.team)
      .Bind(4, key.model)
      .Bind(5, key.labels)
      .Bind(6, key.unit)
      .Bind(7, static_cast<int64_t>(key.outcome))
      .Bind(8, count.jobs)
      .Bind(9, count.micros)
      .Bind(10, SumOfSpending(key, count));
}

IntentColumns::IntentColumns(const record::Intent& intent)
    : state(intent.state()), create_time(absl::ToUnixNanos(FromProto(intent.create_time()))) {
  if (intent.has_settle_time()) settle_time = absl::ToUnixNanos(FromProto(intent.settle_time()));
}

SqliteError MakeSqliteTables(SqliteConnection& db, const std::string& epoch) {
  SqliteMeta meta;
  meta.epoch = epoch;
  SqliteError error = db.Execute(absl::StrCat(
      "BEGIN IMMEDIATE;", kSchema, kLedger, "INSERT INTO meta (only, epoch, revision, sum) ",
      "VALUES (1, '", epoch, "', 0, ", meta.Sum(), ");", "PRAGMA user_version = ", kSqliteForm));
  if (error.ok()) error = PutFirstEra(db);
  return error.ok() ? db.Execute("COMMIT") : error;
}

SqliteError UpgradeSqliteTables(SqliteConnection& db, int64_t form) {
  SqliteError error = db.Execute("BEGIN IMMEDIATE");
  if (error.ok() && form < 2) error = db.Execute(kToForm2);
  if (error.ok() && form < 3) {
    error = db.Execute(kToForm3);
    if (error.ok()) error = PutAllSums(db);
    if (error.ok()) error = PutFirstEra(db);
  }
  if (error.ok()) error = db.Execute(kLedger);
  if (error.ok()) error = PutLedger(db);
  if (error.ok()) error = db.Execute(absl::StrCat("PRAGMA user_version = ", kSqliteForm));
  return error.ok() ? db.Execute("COMMIT") : error;
}

}  // namespace finetune
