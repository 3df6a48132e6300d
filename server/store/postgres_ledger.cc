#include "server/store/postgres_ledger.h"

#include <limits>
#include <string>
#include <utility>

namespace finetune {
namespace {

template <typename Rows, typename Of>
PgValue TextColumn(const Rows& rows, const Of& of) {
  std::vector<PgValue> values;
  for (const auto& row : rows) values.push_back(PgValue::Text(of(row)));
  return PgValue::Array(PgValue::kText, values);
}

template <typename Rows, typename Of>
PgValue NumberColumn(const Rows& rows, const Of& of) {
  std::vector<PgValue> values;
  for (const auto& row : rows) values.push_back(PgValue::Number(of(row)));
  return PgValue::Array(PgValue::kBigint, values);
}

void AddNewTotals(const StoreBatch& batch, std::vector<PgQuery>& queries) {
  const auto& totals = batch.new_totals;
  if (totals.empty()) return;
  queries.push_back(
      {"INSERT INTO finetune.totals SELECT s, e, b, m, a FROM unnest($1::text[], $2::bigint[], "
       "$3::bigint[], $4::text[], $5::bigint[]) AS u (s, e, b, m, a) ON CONFLICT (subject, until, "
       "start, measure) DO UPDATE SET amount = excluded.amount",
       {TextColumn(totals, [](auto& total) { return total.first.subject; }),
        NumberColumn(totals, [](auto& total) { return total.first.end; }),
        NumberColumn(totals, [](auto& total) { return total.first.start; }),
        TextColumn(totals, [](auto& total) { return total.first.measure; }),
        NumberColumn(totals, [](auto& total) { return total.second; })}});
}

void AddRows(const StoreBatch& batch, std::vector<PgQuery>& queries) {
  const SpendingRows& rows = batch.spending;
  if (rows.empty()) return;
  queries.push_back(
      {"INSERT INTO finetune.spending AS s SELECT * FROM unnest($1::bigint[], $2::text[], "
       "$3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[]) "
       "ON CONFLICT (quarter, caller, team, model, labels, unit, outcome) DO UPDATE SET jobs = "
       "s.jobs + excluded.jobs, micros = s.micros + excluded.micros",
       {NumberColumn(rows, [](auto& row) { return row.first.quarter; }),
        TextColumn(rows, [](auto& row) { return row.first.caller; }),
        TextColumn(rows, [](auto& row) { return row.first.team; }),
        TextColumn(rows, [](auto& row) { return row.first.model; }),
        TextColumn(rows, [](auto& row) { return row.first.labels; }),
        TextColumn(rows, [](auto& row) { return row.first.unit; }),
        NumberColumn(rows, [](auto& row) { return static_cast<int64_t>(row.first.outcome); }),
        NumberColumn(rows, [](auto& row) { return row.second.jobs; }),
        NumberColumn(rows, [](auto& row) { return row.second.micros; })}});
}

void AddChangesOfTotals(const StoreBatch& batch, std::vector<PgQuery>& queries) {
  const std::vector<TotalChange> changes = ChangesOfTotals(batch.spending);
  if (changes.empty()) return;
  // Several changes may be about one total.
  queries.push_back(
      {"WITH u AS (SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS u "
       "(s, m, q, a)), sums AS (SELECT t.subject, t.until, t.start, t.measure, "
       "sum(u.a)::bigint AS a FROM u JOIN finetune.totals AS t ON t.subject = u.s AND t.measure = "
       "u.m AND t.until > u.q AND t.start <= u.q GROUP BY 1, 2, 3, 4) UPDATE finetune.totals AS t "
       "SET amount = t.amount + sums.a FROM sums WHERE t.subject = sums.subject AND t.until = "
       "sums.until AND t.start = sums.start AND t.measure = sums.measure",
       {TextColumn(changes, [](auto& change) { return change.subject; }),
        TextColumn(changes, [](auto& change) { return change.measure; }),
        NumberColumn(changes, [](auto& change) { return change.quarter; }),
        NumberColumn(changes, [](auto& change) { return change.amount; })}});
}

}  // namespace

void AddLedgerQueries(const StoreBatch& batch, std::vector<PgQuery>& queries) {
  AddNewTotals(batch, queries);
  AddRows(batch, queries);
  AddChangesOfTotals(batch, queries);
  if (batch.forget_spending_before == absl::InfinitePast()) return;
  const PgValue before = PgValue::Number(QuarterOf(batch.forget_spending_before));
  queries.push_back({"DELETE FROM finetune.spending WHERE quarter < $1::bigint", {before}});
  queries.push_back({"DELETE FROM finetune.spending WHERE jobs <= 0"});
  queries.push_back({"DELETE FROM finetune.totals WHERE until < $1::bigint", {before}});
}

PgQuery FindTotalsQuery(const std::vector<TotalKey>& keys) {
  return {
      "SELECT t.amount FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) WITH "
      "ORDINALITY AS u (s, e, b, m, n) LEFT JOIN finetune.totals AS t ON t.subject = u.s AND "
      "t.until = u.e AND t.start = u.b AND t.measure = u.m ORDER BY u.n",
      {TextColumn(keys, [](auto& key) { return key.subject; }),
       NumberColumn(keys, [](auto& key) { return key.end; }),
       NumberColumn(keys, [](auto& key) { return key.start; }),
       TextColumn(keys, [](auto& key) { return key.measure; })}};
}

std::vector<std::optional<int64_t>> TotalsOf(const PgRows& rows) {
  std::vector<std::optional<int64_t>> amounts;
  for (int i = 0; i < rows.size(); ++i) {
    amounts.emplace_back();
    if (!rows.IsNull(i, 0)) amounts.back() = rows.Number(i, 0);
  }
  return amounts;
}

PgQuery ReadSpendingQuery(const Store::SpendingQuery& query) {
  const SpendingKey after =
      query.after.value_or(SpendingKey{.quarter = std::numeric_limits<int64_t>::min()});
  return {
      "SELECT quarter, caller, team, model, labels, unit, outcome, jobs, micros FROM "
      "finetune.spending WHERE jobs > 0 AND quarter >= greatest($8::bigint, $1::bigint) AND "
      "quarter < $9::bigint AND ($10::text IS NULL OR caller = $10::text) AND (quarter, "
      "caller, team, model, labels, unit, outcome) > ($1::bigint, $2::text, $3::text, "
      "$4::text, $5::text, $6::text, $7::bigint) ORDER BY quarter, caller, team, model, "
      "labels, unit, outcome LIMIT $11::bigint",
      {PgValue::Number(after.quarter), PgValue::Text(after.caller), PgValue::Text(after.team),
       PgValue::Text(after.model), PgValue::Text(after.labels), PgValue::Text(after.unit),
       PgValue::Number(static_cast<int64_t>(after.outcome)), PgValue::Number(query.start),
       PgValue::Number(query.end), query.caller ? PgValue::Text(*query.caller) : PgValue::Null(),
       PgValue::Number(query.limit)}};
}

SpendingRows SpendingRowsOf(const PgRows& rows) {
  SpendingRows made;
  for (int i = 0; i < rows.size(); ++i) {
    SpendingKey key{.quarter = rows.Number(i, 0),
                    .caller = std::string(rows.Bytes(i, 1)),
                    .team = std::string(rows.Bytes(i, 2)),
                    .model = std::string(rows.Bytes(i, 3)),
                    .labels = std::string(rows.Bytes(i, 4)),
                    .unit = std::string(rows.Bytes(i, 5)),
                    .outcome = static_cast<JobOutcome>(rows.Number(i, 6))};
    made.emplace_hint(made.end(), std::move(key),
                      SpendingCount{.jobs = rows.Number(i, 7), .micros = rows.Number(i, 8)});
  }
  return made;
}

}  // namespace finetune
