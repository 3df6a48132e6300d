#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/store/lineage.h"
#include "server/store/pg_connection.h"
#include "server/store/record.pb.h"
#include "server/store/store.h"

namespace finetune {

// The queries on the tables of the record, and what their rows mean. The ledger's are in
// postgres_ledger.h.

// Rows for PointOf. The second also takes the turn.
inline constexpr char kSelectMeta[] = "SELECT era, seq, revision FROM finetune.meta";
inline constexpr char kLockMeta[] = "SELECT era, seq, revision FROM finetune.meta FOR UPDATE";
inline constexpr char kSelectEras[] =
    "SELECT era, base_revision, base_seq, began, why FROM finetune.eras ORDER BY number";
inline constexpr char kSelectChanges[] =
    "SELECT revision, time, id, after, before, forgotten::int::bigint FROM finetune.changes ORDER "
    "BY revision";

// Ask for what came after `known`: members, changes, intents, eras, caution, in this order. One row
// more than `most` of each shows that there are more. `names`: all names that this process has had.
std::vector<PgQuery> NewsQueries(const StorePoint& known, int64_t most,
                                 const std::vector<std::string>& names);
// The first changes after a revision.
PgQuery NextChangesQuery(uint64_t after, int64_t most);

// From the one row of `meta`.
StorePoint PointOf(const PgRows& rows);
std::vector<Era> ErasOf(const PgRows& rows);
StoredChange ChangeOf(const PgRows& rows, int row);
std::vector<StoredChange> ChangesOf(const PgRows& rows);
// DATA_LOSS if one cannot be read.
absl::StatusOr<std::vector<record::Intent>> IntentsOf(const PgRows& rows);
// Nullopt once no commit is awaited.
std::optional<StoreCaution> CautionOf(const PgRows& rows);

}  // namespace finetune
