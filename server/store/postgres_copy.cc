#include "server/store/postgres_copy.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "server/base/status_macros.h"
#include "server/store/moved_to.h"
#include "server/store/postgres_ledger.h"
#include "server/store/postgres_rows.h"
#include "server/store/postgres_session.h"
#include "server/store/sqlite_schema.h"

namespace finetune {
namespace {

// How many rows one statement takes.
constexpr int64_t kAtOnce = 2'000;
constexpr absl::Duration kPatience = absl::Minutes(10);
constexpr uint32_t kNumber = PgValue::kBigint, kText = PgValue::kText, kBytes = PgValue::kBytea;

// A connection to the source or to the target.
class Database {
 public:
  Database(const PgTarget& target, std::unique_ptr<PostgresSession> session)
      : name_(ShownPgUrl(target.url)), session_(std::move(session)) {}

  static absl::StatusOr<Database> Open(const PgTarget& target) {
    auto session = PostgresSession::Open(target, PostgresSession::Use::kAlone,
                                         SteadyNow() + absl::Seconds(10), absl::Seconds(1));
    if (session.ok()) return Database(target, *std::move(session));
    return absl::Status(
        session.status().code(),
        absl::StrCat("the database ", ShownPgUrl(target.url), ": ", session.status().message()));
  }

  const std::string& name() const { return name_; }
  absl::Status Refusal(absl::string_view what) const {
    return absl::FailedPreconditionError(absl::StrCat("the database ", name_, " ", what));
  }
  absl::Status Damaged(absl::string_view what) const {
    return absl::DataLossError(
        absl::StrCat("the database ", name_, " is damaged (", what, "): restore a backup"));
  }
  absl::Status Ask(const std::vector<PgQuery>& queries) {
    const PgError error = session_->connection().Run(queries, SteadyNow() + kPatience, rows_);
    if (error.ok()) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("the database ", name_, ": ", error.words()));
  }
  // The answers to the last Ask.
  const std::vector<PgRows>& rows() const { return rows_; }
  // Commits, and fails if the server warns that the commit may not last.
  absl::Status Commit() {
    RETURN_IF_ERROR(Ask({{"COMMIT"}}));
    if (rows_[0].tag() != "COMMIT" || session_->connection().warned())
      return absl::UnavailableError(
          absl::StrCat("the database ", name_, " did not say that it was committed for good"));
    return absl::OkStatus();
  }

 private:
  std::string name_;
  std::unique_ptr<PostgresSession> session_;
  std::vector<PgRows> rows_;
};

// The other side may take its time between two statements.
constexpr char kNoHurry[] = "SET LOCAL idle_in_transaction_session_timeout = 0";

class PostgresSource : public RecordSource {
 public:
  explicit PostgresSource(Database database) : database_(std::move(database)) {}

  std::string name() const override { return database_.name(); }
  absl::StatusOr<RecordHead> Begin() override;
  absl::Status ReadRecords(const TakeRow<StoredRecord>& take) override;
  absl::Status ReadChanges(const TakeRow<StoredChange>& take) override;
  absl::Status ReadIntents(const TakeRow<record::Intent>& take) override;
  absl::Status ReadSpending(const TakeRow<SpendingRow>& take) override;
  absl::Status MarkMoved(const std::string& to) override;
  std::string under_way_to() const override { return under_way_to_; }
  absl::Status MarkUnderWay(const std::string& to) override;

 private:
  // Reads slice after slice: `next` makes the query for what follows the last row.
  template <typename Next, typename Read>
  absl::Status ReadAll(const Next& next, const Read& read) {
    int64_t got = kAtOnce;
    while (got == kAtOnce) {
      RETURN_IF_ERROR(database_.Ask({next()}));
      const PgRows rows = database_.rows()[0];
      got = rows.size();
      for (int row = 0; row < rows.size(); ++row) RETURN_IF_ERROR(read(rows, row));
    }
    return absl::OkStatus();
  }

  Database database_;
  std::string under_way_to_;
};

absl::StatusOr<RecordHead> PostgresSource::Begin() {
  RETURN_IF_ERROR(database_.Ask(
      {{"BEGIN"},
       {kNoHurry},
       {"SELECT epoch, marker_key, seq, revision, moved_to FROM finetune.meta FOR UPDATE"},
       {kSelectEras}}));
  const PgRows& meta = database_.rows()[2];
  const PgRows& eras = database_.rows()[3];
  if (meta.size() != 1) return database_.Damaged("finetune.meta does not have its one row");
  if (eras.size() == 0) return database_.Refusal("has no record");
  under_way_to_ = UnderWayTo(meta.Bytes(0, 4));
  RecordHead head{.epoch = std::string(meta.Bytes(0, 0)),
                  .marker_key = std::string(meta.Bytes(0, 1)),
                  .seq = static_cast<uint64_t>(meta.Number(0, 2)),
                  .revision = static_cast<uint64_t>(meta.Number(0, 3)),
                  .eras = ErasOf(eras)};
  return head;
}

absl::Status PostgresSource::ReadRecords(const TakeRow<StoredRecord>& take) {
  int64_t after = 0;
  return ReadAll(
      [&] {
        return PgQuery(
            "SELECT first_revision, revision, id, record FROM finetune.fine_tunes WHERE "
            "first_revision > $1::bigint ORDER BY first_revision LIMIT $2::bigint",
            {PgValue::Number(after), PgValue::Number(kAtOnce)});
      },
      [&](const PgRows& rows, int row) -> absl::Status {
        after = rows.Number(row, 0);
        const std::string_view bytes = rows.Bytes(row, 3);
        record::FineTuneRecord record;
        if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
          return database_.Damaged("a fine-tune cannot be read");
        return take({.first_revision = static_cast<uint64_t>(after),
                     .revision = static_cast<uint64_t>(rows.Number(row, 1)),
                     .id = std::string(rows.Bytes(row, 2)),
                     .bytes = std::string(bytes)});
      });
}

absl::Status PostgresSource::ReadChanges(const TakeRow<StoredChange>& take) {
  uint64_t after = 0;
  return ReadAll([&] { return NextChangesQuery(after, kAtOnce); },
                 [&](const PgRows& rows, int row) {
                   const StoredChange change = ChangeOf(rows, row);
                   after = change.revision;
                   return take(change);
                 });
}

absl::Status PostgresSource::ReadIntents(const TakeRow<record::Intent>& take) {
  std::optional<IntentKey> after;
  return ReadAll(
      [&] {
        const IntentKey from = after.value_or(IntentKey());
        return PgQuery(
            "SELECT intent FROM finetune.intents WHERE $3::bigint = 0 OR (caller, request_id) > "
            "($1::text, $2::text) ORDER BY caller, request_id LIMIT $4::bigint",
            {PgValue::Text(from.first), PgValue::Text(from.second), PgValue::Number(after ? 1 : 0),
             PgValue::Number(kAtOnce)});
      },
      [&](const PgRows& rows, int row) -> absl::Status {
        const std::string_view bytes = rows.Bytes(row, 0);
        record::Intent intent;
        if (!intent.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
          return database_.Damaged("a submission's intent cannot be read");
        after = {intent.caller(), intent.request_id()};
        return take(intent);
      });
}

absl::Status PostgresSource::ReadSpending(const TakeRow<SpendingRow>& take) {
  Store::SpendingQuery query{.limit = kAtOnce};
  int64_t got = kAtOnce;
  while (got == kAtOnce) {
    RETURN_IF_ERROR(database_.Ask({ReadSpendingQuery(query)}));
    const SpendingRows rows = SpendingRowsOf(database_.rows()[0]);
    got = static_cast<int64_t>(rows.size());
    for (const SpendingRow& row : rows) RETURN_IF_ERROR(take(row));
    if (!rows.empty()) query.after = rows.rbegin()->first;
  }
  return absl::OkStatus();
}

absl::Status PostgresSource::MarkMoved(const std::string& to) {
  RETURN_IF_ERROR(
      database_.Ask({{"UPDATE finetune.meta SET moved_to = $1::text", {PgValue::Text(to)}}}));
  return database_.Commit();
}

// In a transaction of its own. The session's lock keeps gateways out, not the rows' locks.
absl::Status PostgresSource::MarkUnderWay(const std::string& to) {
  RETURN_IF_ERROR(MarkMoved(to.empty() ? "" : MoveUnderWayTo(to)));
  return database_.Ask({{"BEGIN"}, {kNoHurry}, {"SELECT FROM finetune.meta WHERE one FOR UPDATE"}});
}

// The columns of many rows as arrays, for unnest.
class Columns {
 public:
  explicit Columns(std::vector<uint32_t> types)
      : types_(std::move(types)), values_(types_.size()) {}

  void Add(std::vector<PgValue> row) {
    for (size_t i = 0; i < row.size(); ++i) values_[i].push_back(std::move(row[i]));
  }
  int64_t size() const { return static_cast<int64_t>(values_[0].size()); }
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

class PostgresTarget : public RecordTarget {
 public:
  explicit PostgresTarget(Database database) : database_(std::move(database)) {}

  std::string name() const override { return database_.name(); }
  absl::StatusOr<bool> Has(const RecordHead& head) override;
  absl::Status Begin(const RecordHead& head) override;
  absl::Status Put(const StoredRecord& row) override;
  absl::Status Put(const StoredChange& row) override;
  absl::Status Put(const record::Intent& row) override;
  absl::Status Put(const SpendingRow& row) override;
  absl::Status End() override;

 private:
  absl::Status SendSpending() {
    std::vector<PgQuery> queries;
    AddLedgerQueries(spending_, queries);
    spending_.spending.clear();
    return queries.empty() ? absl::OkStatus() : database_.Ask(queries);
  }
  // Sends the rows if there are enough of them, or with `all`.
  absl::Status Send(Columns& columns, const char* insert, bool all) {
    if (columns.size() == 0 || (columns.size() < kAtOnce && !all)) return absl::OkStatus();
    return database_.Ask({{insert, columns.Take()}});
  }

  static constexpr char kPutRecords[] =
      "INSERT INTO finetune.fine_tunes (first_revision, id, revision, record) SELECT * FROM "
      "unnest($1::bigint[], $2::text[], $3::bigint[], $4::bytea[])";
  static constexpr char kPutChanges[] =
      "INSERT INTO finetune.changes (revision, seq, time, id, after, before, forgotten) SELECT r, "
      "0, t, i, a, b, f <> 0 FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[], "
      "$5::bytea[], $6::bigint[]) AS u (r, t, i, a, b, f)";
  static constexpr char kPutIntents[] =
      "INSERT INTO finetune.intents (caller, request_id, state, marker, seq, create_time, "
      "settle_time, intent) SELECT c, i, s, m, 0, t, e, b FROM unnest($1::text[], $2::text[], "
      "$3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bytea[]) AS u (c, i, s, m, t, e, "
      "b)";

  Database database_;
  Columns records_{{kNumber, kText, kNumber, kBytes}};
  Columns changes_{{kNumber, kNumber, kText, kBytes, kBytes, kNumber}};
  Columns intents_{{kText, kText, kNumber, kText, kNumber, kNumber, kBytes}};
  StoreBatch spending_;
};

absl::StatusOr<bool> PostgresTarget::Has(const RecordHead& head) {
  RETURN_IF_ERROR(
      database_.Ask({{"SELECT (epoch = $1::text AND seq > 0)::int::bigint FROM finetune.meta",
                      {PgValue::Text(head.epoch)}}}));
  const PgRows& rows = database_.rows()[0];
  return rows.size() == 1 && rows.Number(0, 0) != 0;
}

absl::Status PostgresTarget::Begin(const RecordHead& head) {
  RETURN_IF_ERROR(database_.Ask(
      {{"BEGIN"},
       {kNoHurry},
       {"SELECT seq, (SELECT count(*) FROM finetune.fine_tunes) FROM finetune.meta FOR UPDATE"}}));
  const PgRows& there = database_.rows()[2];
  if (there.size() != 1 || there.Number(0, 0) != 0 || there.Number(0, 1) != 0)
    return database_.Refusal("has a record already");
  std::vector<PgQuery> queries = {
      {"UPDATE finetune.meta SET epoch = $1::text, era = 0, seq = $2::bigint, ledger_seq = "
       "$2::bigint, revision = $3::bigint, marker_key = $4::bytea",
       {PgValue::Text(head.epoch), PgValue::Number(Signed(head.seq)),
        PgValue::Number(Signed(head.revision)), PgValue::Bytes(head.marker_key)}}};
  for (const Era& era : head.eras) {
    queries.push_back(
        {"INSERT INTO finetune.eras (era, base_revision, base_seq, began, why) VALUES "
         "($1::bigint, $2::bigint, $3::bigint, $4::bigint, $5::text)",
         {PgValue::Number(Signed(era.id)), PgValue::Number(Signed(era.base_revision)),
          PgValue::Number(Signed(era.base_seq)), PgValue::Number(absl::ToUnixNanos(era.began)),
          PgValue::Text(era.why)}});
  }
  return database_.Ask(queries);
}

absl::Status PostgresTarget::Put(const StoredRecord& row) {
  records_.Add({PgValue::Number(Signed(row.first_revision)), PgValue::Text(row.id),
                PgValue::Number(Signed(row.revision)), PgValue::Bytes(row.bytes)});
  return Send(records_, kPutRecords, false);
}

absl::Status PostgresTarget::Put(const StoredChange& row) {
  changes_.Add({PgValue::Number(Signed(row.revision)), PgValue::Number(absl::ToUnixNanos(row.time)),
                PgValue::Text(row.fine_tune_id), PgValue::Bytes(row.after),
                row.before.empty() ? PgValue::Null() : PgValue::Bytes(row.before),
                PgValue::Number(row.forgotten ? 1 : 0)});
  return Send(changes_, kPutChanges, false);
}

absl::Status PostgresTarget::Put(const record::Intent& row) {
  const IntentColumns columns(row);
  intents_.Add({PgValue::Text(row.caller()), PgValue::Text(row.request_id()),
                PgValue::Number(columns.state), PgValue::Text(row.marker()),
                PgValue::Number(columns.create_time),
                columns.settle_time ? PgValue::Number(*columns.settle_time) : PgValue::Null(),
                PgValue::Bytes(row.SerializeAsString())});
  return Send(intents_, kPutIntents, false);
}

absl::Status PostgresTarget::Put(const SpendingRow& row) {
  spending_.spending.insert(row);
  return static_cast<int64_t>(spending_.spending.size()) < kAtOnce ? absl::OkStatus()
                                                                   : SendSpending();
}

absl::Status PostgresTarget::End() {
  RETURN_IF_ERROR(Send(records_, kPutRecords, true));
  RETURN_IF_ERROR(Send(changes_, kPutChanges, true));
  RETURN_IF_ERROR(Send(intents_, kPutIntents, true));
  RETURN_IF_ERROR(SendSpending());
  return database_.Commit();
}

template <typename End, typename Interface>
absl::StatusOr<std::unique_ptr<Interface>> OpenEnd(const PgTarget& target) {
  ASSIGN_OR_RETURN(Database database, Database::Open(target));
  return std::make_unique<End>(std::move(database));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RecordSource>> OpenPostgresSource(const PgTarget& target) {
  return OpenEnd<PostgresSource, RecordSource>(target);
}

absl::StatusOr<std::unique_ptr<RecordTarget>> OpenPostgresTarget(const PgTarget& target) {
  return OpenEnd<PostgresTarget, RecordTarget>(target);
}

}  // namespace finetune
