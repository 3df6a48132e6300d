#include "server/store/copy_store.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/store/postgres_session.h"
#include "server/store/record.pb.h"
#include "server/store/sqlite_session.h"
#include "server/store/sqlite_store.h"

namespace finetune {
namespace {

// Rows that go in one statement.
constexpr size_t kAtOnce = 2'000;
constexpr absl::Duration kPatience = absl::Minutes(10);

// The columns of many rows, as arrays for unnest.
class Columns {
 public:
  explicit Columns(std::vector<uint32_t> types)
      : types_(std::move(types)), values_(types_.size()) {}

  void Add(std::vector<PgValue> row) {
    for (size_t i = 0; i < row.size(); ++i) values_[i].push_back(std::move(row[i]));
  }
  size_t size() const { return values_[0].size(); }
  std::vector<PgValue> Take() {
    std::vector<PgValue> arrays;
    for (size_t i = 0; i < types_.size(); ++i) {
      arrays.push_back(PgValue::Array(types_[i], values_[i]));
      values_[i].clear();
    }
    return arrays;
  }

 private:
  const std::vector<uint32_t> types_;
  std::vector<std::vector<PgValue>> values_;
};

constexpr uint32_t kNumber = PgValue::kBigint, kText = PgValue::kText, kBytes = PgValue::kBytea;

class Copy {
 public:
  Copy(SqliteSession& from, PostgresSession& to) : from_(from), to_(to) {}

  absl::Status Run(const Lineage& lineage) {
    RETURN_IF_ERROR(
        Ask({{"BEGIN"},
             {"SELECT seq, (SELECT count(*) FROM finetune.fine_tunes) FROM finetune.meta "
              "FOR UPDATE"}}));
    if (rows_[1].size() != 1 || rows_[1].Number(0, 0) != 0 || rows_[1].Number(0, 1) != 0)
      return absl::FailedPreconditionError("the database has a record already");
    SqliteStatement key;
    if (SqliteError error = from_.db.Prepare("SELECT key FROM marker_key", key); !error.ok())
      return from_.Refusal(error);
    if (!key.Step())
      return absl::DataLossError("the file has no key for markers: restore a backup");
    RETURN_IF_ERROR(
        Ask({{"UPDATE finetune.meta SET epoch = $1::text, era = 0, seq = $2::bigint, revision = "
              "$3::bigint, marker_key = $4::bytea",
              {PgValue::Text(from_.meta.epoch), PgValue::Number(Signed(from_.meta.seq)),
               PgValue::Number(Signed(from_.meta.revision)), PgValue::Bytes(key.Blob(0))}}}));
    if (SqliteError error = key.Reset(); !error.ok()) return from_.Refusal(error);
    for (const Era& era : lineage.eras()) {
      RETURN_IF_ERROR(
          Ask({{"INSERT INTO finetune.eras (era, base_revision, base_seq, began, why) "
                "VALUES ($1::bigint, $2::bigint, $3::bigint, $4::bigint, $5::text)",
                {PgValue::Number(Signed(era.id)), PgValue::Number(Signed(era.base_revision)),
                 PgValue::Number(Signed(era.base_seq)),
                 PgValue::Number(absl::ToUnixNanos(era.began)), PgValue::Text(era.why)}}}));
    }
    RETURN_IF_ERROR(CopyRecords());
    RETURN_IF_ERROR(CopyChanges());
    RETURN_IF_ERROR(CopyIntents());
    return Ask({{"COMMIT"}});
  }

 private:
  static int64_t Signed(uint64_t number) { return static_cast<int64_t>(number); }

  absl::Status Ask(const std::vector<PgQuery>& queries) {
    const PgError error = to_.connection().Run(queries, absl::Now() + kPatience, rows_);
    if (error.ok()) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("the database: ", error.message));
  }

  // Reads all rows of `select`, makes each one of `columns`, and sends them by `insert`.
  template <typename MakeRow>
  absl::Status CopyRows(const char* select, const char* insert, Columns columns,
                        const MakeRow& make_row) {
    SqliteStatement rows;
    if (SqliteError error = from_.db.Prepare(select, rows); !error.ok())
      return from_.Refusal(error);
    while (rows.Step()) {
      columns.Add(make_row(rows));
      if (columns.size() == kAtOnce) RETURN_IF_ERROR(Ask({{insert, columns.Take()}}));
    }
    if (SqliteError error = rows.Reset(); !error.ok()) return from_.Refusal(error);
    return columns.size() > 0 ? Ask({{insert, columns.Take()}}) : absl::OkStatus();
  }

  absl::Status CopyRecords() {
    return CopyRows(
        "SELECT first_revision, id, record FROM fine_tunes",
        "INSERT INTO finetune.fine_tunes SELECT * FROM unnest($1::bigint[], $2::text[], "
        "$3::bigint[], $4::bytea[])",
        Columns({kNumber, kText, kNumber, kBytes}), [](const SqliteStatement& row) {
          record::FineTuneRecord record;
          const std::string_view bytes = row.Blob(2);
          record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
          return std::vector<PgValue>{PgValue::Number(row.Number(0)), PgValue::Text(row.Blob(1)),
                                      PgValue::Number(Signed(record.fine_tune().revision())),
                                      PgValue::Bytes(bytes)};
        });
  }

  absl::Status CopyChanges() {
    return CopyRows(
        "SELECT revision, time, id, after, before, forgotten FROM changes",
        "INSERT INTO finetune.changes SELECT r, 0, t, i, a, b, f <> 0 FROM unnest($1::bigint[], "
        "$2::bigint[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[]) AS u (r, t, i, a, b, f)",
        Columns({kNumber, kNumber, kText, kBytes, kBytes, kNumber}),
        [](const SqliteStatement& row) {
          return std::vector<PgValue>{
              PgValue::Number(row.Number(0)),
              PgValue::Number(row.Number(1)),
              PgValue::Text(row.Blob(2)),
              PgValue::Bytes(row.Blob(3)),
              row.Blob(4).empty() ? PgValue::Null() : PgValue::Bytes(row.Blob(4)),
              PgValue::Number(row.Number(5))};
        });
  }

  absl::Status CopyIntents() {
    return CopyRows(
        "SELECT caller, request_id, state, marker, settle_time, intent, create_time FROM intents",
        "INSERT INTO finetune.intents SELECT c, i, s, m, 0, t, e, b FROM unnest($1::text[], "
        "$2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bytea[]) AS u (c, "
        "i, "
        "s, m, t, e, b)",
        Columns({kText, kText, kNumber, kText, kNumber, kNumber, kBytes}),
        [](const SqliteStatement& row) {
          return std::vector<PgValue>{
              PgValue::Text(row.Blob(0)),
              PgValue::Text(row.Blob(1)),
              PgValue::Number(row.Number(2)),
              PgValue::Text(row.Blob(3)),
              PgValue::Number(row.Number(6)),
              row.IsNull(4) ? PgValue::Null() : PgValue::Number(row.Number(4)),
              PgValue::Bytes(row.Blob(5))};
        });
  }

  SqliteSession& from_;
  PostgresSession& to_;
  std::vector<PgRows> rows_;
};

}  // namespace

absl::Status CopyStore(const std::string& sqlite_path, const PgTarget& target) {
  {
    // A start finds whatever is wrong with it.
    ASSIGN_OR_RETURN(auto store, OpenSqliteStore(sqlite_path));
    ASSIGN_OR_RETURN(const StoreState state, store->Load());
    if (!state.lost.empty()) return absl::FailedPreconditionError(state.lost);
  }
  ASSIGN_OR_RETURN(auto from, SqliteSession::Open(sqlite_path, /*create=*/false));
  ASSIGN_OR_RETURN(const Lineage lineage, from->ReadEras());
  auto to = PostgresSession::Open(target, absl::Now() + absl::Seconds(10), absl::Seconds(1));
  if (!to.ok()) {
    return absl::Status(to.status().code(), absl::StrCat("the database ", ShownPgUrl(target.url),
                                                         ": ", to.status().message()));
  }
  RETURN_IF_ERROR(Copy(*from, **to).Run(lineage));
  from->meta.moved_to = ShownPgUrl(target.url);
  SqliteStatement mark;
  SqliteError error = from->db.Prepare("UPDATE meta SET moved_to = ?1, sum = ?2", mark);
  if (error.ok()) error = mark.Bind(1, from->meta.moved_to).Bind(2, from->meta.Sum()).Run();
  return error.ok() ? absl::OkStatus() : from->Refusal(error);
}

}  // namespace finetune
