#include "server/store/postgres_batch.h"

#include <utility>

#include "server/store/postgres_ledger.h"
#include "server/store/postgres_session.h"
#include "server/store/sqlite_schema.h"

namespace finetune {
namespace {

class Queries {
 public:
  Queries(const StoreBatch& batch, const StorePoint& base) : seq_(Signed(base.seq) + 1) {
    AddChanges(batch);
    AddIntents(batch);
    AddLedgerQueries(batch, queries_);
    if (batch.forget_changes_through > 0) {
      // With a lower bound, too: until the table is vacuumed, deleted rows stay in the index and
      // each such search would walk over them.
      queries_.push_back(
          {"DELETE FROM finetune.changes WHERE revision > $1::bigint AND revision <= $2::bigint",
           {PgValue::Number(Signed(batch.forget_changes_after)),
            PgValue::Number(Signed(batch.forget_changes_through))}});
    }
    if (batch.forget_intents_before != absl::InfinitePast()) {
      queries_.push_back({"DELETE FROM finetune.intents WHERE settle_time < $1::bigint",
                          {PgValue::Number(absl::ToUnixNanos(batch.forget_intents_before))}});
    }
    if (batch.forget_refusals_before != absl::InfinitePast()) {
      queries_.push_back(
          {"DELETE FROM finetune.intents WHERE state = 5 AND settle_time < $1::bigint",
           {PgValue::Number(absl::ToUnixNanos(batch.forget_refusals_before))}});
    }
  }
  std::vector<PgQuery> Take() && { return std::move(queries_); }

 private:
  // A job's row becomes what its latest change says; all changes go to the log.
  void AddChanges(const StoreBatch& batch) {
    if (batch.changes.empty()) return;
    std::vector<PgValue> revisions, times, ids, afters, befores, forgotten;
    std::vector<PgValue> made, gone;
    for (const StoredChange& change : batch.changes) {
      if (change.forgotten) gone.push_back(PgValue::Text(change.fine_tune_id));
      revisions.push_back(PgValue::Number(Signed(change.revision)));
      times.push_back(PgValue::Number(absl::ToUnixNanos(change.time)));
      ids.push_back(PgValue::Text(change.fine_tune_id));
      afters.push_back(PgValue::Bytes(change.after));
      befores.push_back(change.before.empty() ? PgValue::Null() : PgValue::Bytes(change.before));
      forgotten.push_back(PgValue::Number(change.forgotten ? 1 : 0));
    }
    const PgValue r = PgValue::Array(PgValue::kBigint, revisions);
    const PgValue i = PgValue::Array(PgValue::kText, ids);
    const PgValue a = PgValue::Array(PgValue::kBytea, afters);
    const PgValue b = PgValue::Array(PgValue::kBytea, befores);
    queries_.push_back(
        {"INSERT INTO finetune.changes SELECT r, $7::bigint, t, i, a, b, f <> 0 FROM "
         "unnest($1::bigint[], $2::bigint[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[]) "
         "AS u (r, t, i, a, b, f) WHERE r > $8::bigint",
         {r, PgValue::Array(PgValue::kBigint, times), i, a, b,
          PgValue::Array(PgValue::kBigint, forgotten), PgValue::Number(seq_),
          PgValue::Number(Signed(batch.forget_changes_through))}});
    // A job that is forgotten and made anew within one commit gets another row.
    queries_.push_back({"DELETE FROM finetune.fine_tunes WHERE id = ANY ($1::text[])",
                        {PgValue::Array(PgValue::kText, gone)}});
    queries_.push_back(
        {"WITH u AS (SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[], "
         "$5::bigint[]) AS u (r, i, a, b, f)), last AS (SELECT DISTINCT ON (i) i, r, a, f FROM u "
         "ORDER BY i, r DESC), made AS (SELECT DISTINCT ON (i) i, r FROM u WHERE b IS NULL ORDER "
         "BY i, r DESC) INSERT INTO finetune.fine_tunes SELECT made.r, last.i, last.r, last.a "
         "FROM last JOIN made USING (i) WHERE last.f = 0",
         {r, i, a, b, PgValue::Array(PgValue::kBigint, forgotten)}});
    queries_.push_back(
        {"WITH u AS (SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[], "
         "$5::bigint[]) AS u (r, i, a, b, f)), last AS (SELECT DISTINCT ON (i) i, r, a, f FROM u "
         "ORDER BY i, r DESC) UPDATE finetune.fine_tunes AS t SET record = last.a, revision = "
         "last.r FROM last WHERE t.id = last.i AND last.f = 0 AND t.revision < last.r",
         {r, i, a, b, PgValue::Array(PgValue::kBigint, forgotten)}});
  }

  void AddIntents(const StoreBatch& batch) {
    if (batch.put_intents.empty()) return;
    std::vector<PgValue> callers, ids, states, markers, created, settled, bytes;
    for (const record::Intent& intent : batch.put_intents) {
      const IntentColumns columns(intent);
      callers.push_back(PgValue::Text(intent.caller()));
      ids.push_back(PgValue::Text(intent.request_id()));
      states.push_back(PgValue::Number(columns.state));
      markers.push_back(PgValue::Text(intent.marker()));
      created.push_back(PgValue::Number(columns.create_time));
      settled.push_back(columns.settle_time ? PgValue::Number(*columns.settle_time)
                                            : PgValue::Null());
      bytes.push_back(PgValue::Bytes(intent.SerializeAsString()));
    }
    queries_.push_back(
        {"INSERT INTO finetune.intents SELECT c, i, s, m, $8::bigint, t, e, b FROM "
         "unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], "
         "$7::bytea[]) AS u (c, i, s, m, t, e, b) ON CONFLICT (caller, request_id) DO UPDATE SET "
         "state = excluded.state, marker = excluded.marker, seq = excluded.seq, create_time = "
         "excluded.create_time, settle_time = excluded.settle_time, intent = excluded.intent",
         {PgValue::Array(PgValue::kText, callers), PgValue::Array(PgValue::kText, ids),
          PgValue::Array(PgValue::kBigint, states), PgValue::Array(PgValue::kText, markers),
          PgValue::Array(PgValue::kBigint, created), PgValue::Array(PgValue::kBigint, settled),
          PgValue::Array(PgValue::kBytea, bytes), PgValue::Number(seq_)}});
  }

  const int64_t seq_;
  std::vector<PgQuery> queries_;
};

}  // namespace

std::vector<PgQuery> BatchQueries(const StoreBatch& batch, const StorePoint& base) {
  return Queries(batch, base).Take();
}

}  // namespace finetune
