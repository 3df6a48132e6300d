#include "server/store/sqlite_ledger.h"

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

constexpr char kSelectRows[] =
    "SELECT quarter, caller, team, model, labels, unit, outcome, jobs, micros, sum FROM spending ";

SpendingKey KeyOf(const SqliteStatement& row) {
  return {.quarter = row.Number(0),
          .caller = std::string(row.Blob(1)),
          .team = std::string(row.Blob(2)),
          .model = std::string(row.Blob(3)),
          .labels = std::string(row.Blob(4)),
          .unit = std::string(row.Blob(5)),
          .outcome = static_cast<JobOutcome>(row.Number(6))};
}

SqliteStatement& BindKey(SqliteStatement& statement, const SpendingKey& key) {
  return statement.Bind(1, key.quarter)
      .Bind(2, key.caller)
      .Bind(3, key.team)
      .Bind(4, key.model)
      .Bind(5, key.labels)
      .Bind(6, key.unit)
      .Bind(7, static_cast<int64_t>(key.outcome));
}

}  // namespace

SqliteError SqliteLedger::Load(int64_t& digest, bool& whole) {
  SqliteStatement rows, totals;
  SqliteError error = s_.db.Prepare(kSelectRows, rows);
  while (error.ok() && rows.Step()) {
    const SpendingCount count{.jobs = rows.Number(7), .micros = rows.Number(8)};
    whole = whole && rows.Number(9) == SumOfSpending(KeyOf(rows), count);
    digest ^= rows.Number(9);
  }
  if (error.ok()) error = rows.Reset();
  if (error.ok())
    error = s_.db.Prepare("SELECT subject, until, start, measure, amount, sum FROM totals", totals);
  while (error.ok() && totals.Step()) {
    const TotalKey key{.subject = std::string(totals.Blob(0)),
                       .measure = std::string(totals.Blob(3)),
                       .start = totals.Number(2),
                       .end = totals.Number(1)};
    whole = whole && totals.Number(5) == SumOfTotal(key, totals.Number(4));
    digest ^= totals.Number(5);
  }
  return error.ok() ? totals.Reset() : error;
}

SqliteError SqliteLedger::Write(const StoreBatch& batch, int64_t& digest) {
  SqliteError error;
  for (const auto& [key, amount] : batch.new_totals)
    if (error.ok()) error = PutTotal(key, amount, digest);
  for (const auto& [key, change] : batch.spending)
    if (error.ok()) error = Add(key, change, digest);
  for (const TotalChange& change : ChangesOfTotals(batch.spending))
    if (error.ok()) error = AddToTotals(change, digest);
  if (!error.ok() || batch.forget_spending_before == absl::InfinitePast()) return error;
  const Quarter before = QuarterOf(batch.forget_spending_before);
  error = Forget(s_.forget_spending, before, digest);
  return error.ok() ? Forget(s_.forget_totals, before, digest) : error;
}

SqliteError SqliteLedger::Add(const SpendingKey& key, const SpendingCount& change,
                              int64_t& digest) {
  SpendingCount count;
  if (BindKey(s_.find_spending, key).Step()) {
    count = {.jobs = s_.find_spending.Number(0), .micros = s_.find_spending.Number(1)};
    digest ^= s_.find_spending.Number(2);
  }
  if (SqliteError error = s_.find_spending.Reset(); !error.ok()) return error;
  count += change;
  // Nothing can be taken from a row that was forgotten.
  if (count.jobs <= 0) return BindKey(s_.delete_spending, key).Run();
  digest ^= SumOfSpending(key, count);
  return BindSpending(s_.put_spending, key, count).Run();
}

SqliteError SqliteLedger::AddToTotals(const TotalChange& change, int64_t& digest) {
  SqliteStatement& find = s_.find_totals_of;
  find.Bind(1, change.subject).Bind(2, change.quarter).Bind(3, change.measure);
  std::vector<std::pair<TotalKey, int64_t>> totals;
  while (find.Step()) {
    totals.push_back({{.subject = change.subject,
                       .measure = change.measure,
                       .start = find.Number(1),
                       .end = find.Number(0)},
                      find.Number(2)});
    digest ^= find.Number(3);
  }
  SqliteError error = find.Reset();
  for (const auto& [key, amount] : totals)
    if (error.ok()) error = PutTotal(key, amount + change.amount, digest);
  return error;
}

SqliteError SqliteLedger::PutTotal(const TotalKey& key, int64_t amount, int64_t& digest) {
  const int64_t sum = SumOfTotal(key, amount);
  digest ^= sum;
  return s_.put_total.Bind(1, key.subject)
      .Bind(2, key.end)
      .Bind(3, key.start)
      .Bind(4, key.measure)
      .Bind(5, amount)
      .Bind(6, sum)
      .Run();
}

SqliteError SqliteLedger::Forget(SqliteStatement& statement, Quarter before, int64_t& digest) {
  statement.Bind(1, before);
  while (statement.Step()) digest ^= statement.Number(0);
  return statement.Reset();
}

SqliteError SqliteLedger::FindTotals(const std::vector<TotalKey>& keys,
                                     std::vector<std::optional<int64_t>>& amounts, bool& whole) {
  SqliteStatement& find = s_.find_total;
  for (const TotalKey& key : keys) {
    amounts.emplace_back();
    find.Bind(1, key.subject).Bind(2, key.end).Bind(3, key.start).Bind(4, key.measure);
    if (find.Step()) {
      amounts.back() = find.Number(0);
      whole = whole && find.Number(1) == SumOfTotal(key, find.Number(0));
    }
    if (SqliteError error = find.Reset(); !error.ok()) return error;
  }
  return {};
}

SqliteError SqliteLedger::Read(const Store::SpendingQuery& query, SpendingRows& rows, bool& whole) {
  const SpendingKey after =
      query.after.value_or(SpendingKey{.quarter = std::numeric_limits<int64_t>::min()});
  SqliteStatement select;
  SqliteError error = s_.db.Prepare(
      absl::StrCat(
          kSelectRows,
          "WHERE quarter >= max(?11, ?1) AND quarter < ?12 AND (?8 IS NULL OR caller = ?8) "
          "AND (quarter, caller, team, model, labels, unit, outcome) > (?1, ?2, ?3, ?4, "
          "?5, ?6, ?7) ORDER BY quarter, caller, team, model, labels, unit, outcome "
          "LIMIT ?13")
          .c_str(),
      select);
  if (!error.ok()) return error;
  BindKey(select, after).Bind(11, query.start).Bind(12, query.end).Bind(13, query.limit);
  if (query.caller) select.Bind(8, *query.caller);
  while (select.Step()) {
    const SpendingKey key = KeyOf(select);
    const SpendingCount count{.jobs = select.Number(7), .micros = select.Number(8)};
    whole = whole && select.Number(9) == SumOfSpending(key, count);
    rows.emplace_hint(rows.end(), key, count);
  }
  return select.Reset();
}

}  // namespace finetune
