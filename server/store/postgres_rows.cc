#include "server/store/postgres_rows.h"

#include "server/store/postgres_now.h"

namespace finetune {
namespace {

// With the server's clock, which is read after the wait for the turn.
constexpr char kSelectMembers[] =
    "SELECT id, CASE WHEN expires > now THEN 1 ELSE 0 END::bigint, now, (SELECT era.began FROM "
    "finetune.eras AS era JOIN finetune.meta USING (era)), last_batch FROM finetune.members, "
    "(SELECT " PG_NOW " AS now) AS n WHERE expires > 0";

// A row for each member that is still awaited; an empty name stands for losses that nobody can
// bring back.
constexpr char kSelectCaution[] =
    "SELECT cautious_until, (awaited = ANY ($1::text[]))::int::bigint FROM finetune.eras AS e JOIN "
    "finetune.meta USING (era), unnest(awaits) AS awaited WHERE NOT EXISTS (SELECT FROM "
    "finetune.members AS m WHERE m.id = awaited AND m.seen_era = e.era)";

uint64_t Unsigned(int64_t number) { return static_cast<uint64_t>(number); }

}  // namespace

std::vector<PgQuery> NewsQueries(const StorePoint& known, int64_t most,
                                 const std::vector<std::string>& names) {
  return {{kSelectMembers},
          NextChangesQuery(known.revision, most + 1),
          {"SELECT intent FROM finetune.intents WHERE seq > $1::bigint ORDER BY seq LIMIT "
           "$2::bigint",
           {PgValue::Number(Signed(known.seq)), PgValue::Number(most + 1)}},
          // All eras, if there are others than the one that is known.
          {"SELECT era, base_revision, base_seq, began, why FROM finetune.eras WHERE EXISTS "
           "(SELECT FROM finetune.meta WHERE era <> $1::bigint) ORDER BY number",
           {PgValue::Number(Signed(known.era))}},
          {kSelectCaution, {PgValue::Texts(names)}}};
}

PgQuery NextChangesQuery(uint64_t after, int64_t most) {
  return {
      "SELECT revision, time, id, after, before, forgotten::int::bigint FROM finetune.changes "
      "WHERE revision > $1::bigint ORDER BY revision LIMIT $2::bigint",
      {PgValue::Number(Signed(after)), PgValue::Number(most)}};
}

StorePoint PointOf(const PgRows& rows) {
  return {.era = Unsigned(rows.Number(0, 0)),
          .seq = Unsigned(rows.Number(0, 1)),
          .revision = Unsigned(rows.Number(0, 2))};
}

std::vector<Era> ErasOf(const PgRows& rows) {
  std::vector<Era> eras;
  eras.reserve(static_cast<size_t>(rows.size()));
  for (int i = 0; i < rows.size(); ++i) {
    eras.push_back({.id = Unsigned(rows.Number(i, 0)),
                    .base_revision = Unsigned(rows.Number(i, 1)),
                    .base_seq = Unsigned(rows.Number(i, 2)),
                    .began = absl::FromUnixNanos(rows.Number(i, 3)),
                    .why = std::string(rows.Bytes(i, 4))});
  }
  return eras;
}

StoredChange ChangeOf(const PgRows& rows, int row) {
  // NULL is read as no bytes.
  return {.revision = Unsigned(rows.Number(row, 0)),
          .time = absl::FromUnixNanos(rows.Number(row, 1)),
          .fine_tune_id = std::string(rows.Bytes(row, 2)),
          .after = std::string(rows.Bytes(row, 3)),
          .before = std::string(rows.Bytes(row, 4)),
          .forgotten = rows.Number(row, 5) != 0};
}

std::vector<StoredChange> ChangesOf(const PgRows& rows) {
  std::vector<StoredChange> changes;
  changes.reserve(static_cast<size_t>(rows.size()));
  for (int i = 0; i < rows.size(); ++i) changes.push_back(ChangeOf(rows, i));
  return changes;
}

absl::StatusOr<std::vector<record::Intent>> IntentsOf(const PgRows& rows) {
  std::vector<record::Intent> intents(static_cast<size_t>(rows.size()));
  for (int i = 0; i < rows.size(); ++i) {
    const std::string_view bytes = rows.Bytes(i, 0);
    if (!intents[i].ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
      return absl::DataLossError("the database holds a submission's intent that cannot be read");
  }
  return intents;
}

std::optional<StoreCaution> CautionOf(const PgRows& rows) {
  if (rows.size() == 0) return std::nullopt;
  StoreCaution caution{.until = absl::FromUnixNanos(rows.Number(0, 0))};
  for (int i = 0; i < rows.size(); ++i)
    (rows.Number(i, 1) != 0 ? caution.awaits_me : caution.awaits_others) = true;
  return caution;
}

}  // namespace finetune
