#include "server/store/postgres_leader.h"

#include <utility>

#include "server/store/postgres_now.h"

namespace finetune {
namespace {

PgValue Nanos(absl::Duration duration) {
  return PgValue::Number(absl::ToInt64Nanoseconds(duration));
}

}  // namespace

std::vector<PgValue> TermValues(const LeaderTerm* term) {
  return {PgValue::Number(term != nullptr ? Signed(term->number) : -1),
          PgValue::Text(term != nullptr ? term->holder : "")};
}

PgQuery RenewQuery(const LeaderTerm* term, absl::Duration lease) {
  std::vector<PgValue> values = TermValues(term);
  values.push_back(Nanos(lease));
  return {"UPDATE finetune.leader SET expires = " PG_NOW
          " + $3::bigint WHERE term = $1::bigint AND holder = $2::text AND expires > " PG_NOW
          " RETURNING expires",
          std::move(values)};
}

PgQuery ResignQuery(const LeaderTerm& term) {
  return {"UPDATE finetune.leader SET expires = 0 WHERE term = $1::bigint AND holder = $2::text",
          TermValues(&term)};
}

PgQuery TellQuery(const LeaderTerm& term, std::string_view reading) {
  std::vector<PgValue> values = TermValues(&term);
  values.push_back(PgValue::Bytes(reading));
  return {
      "UPDATE finetune.leader SET reading = $3::bytea WHERE term = $1::bigint AND "
      "holder = $2::text",
      std::move(values)};
}

PgQuery WantQuery() { return {"UPDATE finetune.leader SET wanted = wanted + 1 RETURNING wanted"}; }

std::vector<PgQuery> TakeOverQueries(const std::string& me, absl::Duration lease) {
  return {{"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"},
          {"SET LOCAL synchronous_commit = on"},
          // So that no commit of the record is under way while the term changes.
          {"SELECT seq FROM finetune.meta FOR UPDATE"},
          {"UPDATE finetune.leader SET term = term + 1, holder = $1::text, expires = " PG_NOW
           " + $2::bigint WHERE expires < " PG_NOW " RETURNING term, wanted",
           {PgValue::Text(me), Nanos(lease)}}};
}

}  // namespace finetune
