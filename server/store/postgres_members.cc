#include "server/store/postgres_members.h"

#include "server/store/lineage.h"
#include "server/store/postgres_now.h"

namespace finetune {
namespace {

constexpr size_t kMaxEras = 1'000;

// Members are awaited if commits of theirs may be lost: all except those that left in order or were
// taken over from, as far as the record still tells. If nothing can be lost, nobody is awaited.
constexpr char kBeginEra[] =
    "INSERT INTO finetune.eras (era, base_revision, base_seq, began, why, cautious_until, awaits) "
    "SELECT $1::bigint, $2::bigint, $3::bigint, now, $4::text, now + $5::bigint, CASE WHEN "
    "$5::bigint = 0 THEN '{}' ELSE ARRAY(SELECT id FROM finetune.members AS m WHERE expires > 1 OR "
    "EXISTS (SELECT FROM finetune.eras AS e WHERE e.cautious_until > now AND m.id = ANY (e.awaits) "
    "AND m.seen_era <> e.era)) END FROM (SELECT " PG_NOW " AS now) AS n";

PgValue Nanoseconds(absl::Duration duration) {
  return PgValue::Number(absl::ToInt64Nanoseconds(duration));
}

}  // namespace

std::vector<PgQuery> JoinQuestions(const std::string& me) {
  return {{"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"},
          {"SELECT epoch, era, seq, revision, server, marker_key FROM finetune.meta FOR UPDATE"},
          {"SELECT count(*) FILTER (WHERE expires > " PG_NOW
           "), count(*) FILTER (WHERE id = $1::text AND expires > 0) FROM finetune.members",
           {PgValue::Text(me)}}};
}

std::optional<JoinLook> JoinLookOf(const std::vector<PgRows>& rows) {
  const PgRows& meta = rows[1];
  const PgRows& members = rows[2];
  if (meta.size() != 1) return std::nullopt;
  return JoinLook{.epoch = std::string(meta.Bytes(0, 0)),
                  .marker_key = std::string(meta.Bytes(0, 5)),
                  .server = std::string(meta.Bytes(0, 4)),
                  .point = {.era = static_cast<uint64_t>(meta.Number(0, 1)),
                            .seq = static_cast<uint64_t>(meta.Number(0, 2)),
                            .revision = static_cast<uint64_t>(meta.Number(0, 3))},
                  .somebody_lives = members.Number(0, 0) > 0,
                  .i_am_a_member = members.Number(0, 1) > 0};
}

std::vector<PgQuery> EraQueries(const StorePoint& point, const std::string& server,
                                std::string_view why, absl::Duration caution) {
  // The commit that begins an era is the era's first.
  const PgValue era = PgValue::Number(Signed(MakeEraId()));
  return {{kBeginEra,
           {era, PgValue::Number(Signed(point.revision)), PgValue::Number(Signed(point.seq)),
            PgValue::Text(why), Nanoseconds(caution)}},
          {"UPDATE finetune.meta SET era = $1::bigint, seq = seq + 1, ledger_seq = seq + 1, server "
           "= $2::text",
           {era, PgValue::Text(server)}},
          // The first era stays, because tokens of the first format belong to it.
          {"DELETE FROM finetune.eras WHERE base_revision > 0 AND number <= (SELECT "
           "max(number) FROM finetune.eras) - $1::bigint",
           {PgValue::Number(kMaxEras)}}};
}

std::vector<PgQuery> MemberQueries(const std::string& me, const std::string& name,
                                   absl::Duration lease, absl::Duration age) {
  return {{"INSERT INTO finetune.members (id, name, version, last_batch, seen, started, expires) "
           "SELECT $1::text, $2::text, $3::text, 0, now, now - $5::bigint, now + $4::bigint FROM "
           "(SELECT " PG_NOW " AS now) AS n ON CONFLICT "
           "(id) DO UPDATE SET seen = excluded.seen, expires = excluded.expires",
           {PgValue::Text(me), PgValue::Text(name), PgValue::Text(FINETUNE_VERSION),
            Nanoseconds(lease), Nanoseconds(age)}},
          // Members of earlier processes.
          {"DELETE FROM finetune.members WHERE seen < (extract(epoch FROM clock_timestamp() - "
           "interval '1 hour') * 1e9)::bigint AND expires = 0 AND id <> $1::text",
           {PgValue::Text(me)}}};
}

PgQuery LeaveQuery(const std::string& me) {
  return {"UPDATE finetune.members SET expires = 1 WHERE id = $1::text AND expires > 0",
          {PgValue::Text(me)}};
}

std::vector<PgQuery> WriterQueries(const StoreBatch& batch, const BatchWriter& writer) {
  const PgValue era = PgValue::Number(Signed(writer.era));
  // This batch at the latest brings back whatever this process has seen and the record has lost,
  // under whichever of its names it was made.
  std::vector<PgQuery> queries = {
      {"UPDATE finetune.members SET seen_era = $1::bigint, last_batch = CASE id WHEN "
       "$2::text THEN $3::bigint ELSE last_batch END WHERE id = ANY ($4::text[])",
       {era, PgValue::Text(writer.by), PgValue::Number(writer.number),
        PgValue::Texts(writer.names)}}};
  if (batch.has_lost) {
    queries.push_back(
        {"UPDATE finetune.eras SET awaits = array_append(awaits, ''), cautious_until = "
         "greatest(cautious_until, began + $2::bigint) WHERE era = $1::bigint",
         {era, Nanoseconds(writer.caution)}});
  } else if (batch.ends_caution) {
    queries.push_back({"UPDATE finetune.eras SET awaits = '{}' WHERE era = $1::bigint", {era}});
  }
  if (!batch.ended_members.empty()) {
    queries.push_back({"UPDATE finetune.members SET expires = 0 WHERE id = ANY ($1::text[])",
                       {PgValue::Texts(batch.ended_members)}});
  }
  return queries;
}

}  // namespace finetune
