#pragma once

#include <optional>
#include <vector>

#include "server/store/pg_connection.h"
#include "server/store/store.h"

namespace finetune {

// The ledger's tables in a database: the statements, and what their rows mean.

// Statements that make the tables, for databases that lack them.
inline constexpr const char* kPostgresLedgerTables[] = {
    "CREATE TABLE IF NOT EXISTS finetune.spending (quarter bigint NOT NULL, "
    "caller text COLLATE \"C\" NOT NULL, team text COLLATE \"C\" NOT NULL, "
    "model text COLLATE \"C\" NOT NULL, labels text COLLATE \"C\" NOT NULL, "
    "unit text COLLATE \"C\" NOT NULL, outcome bigint NOT NULL, jobs bigint NOT NULL, "
    "micros bigint NOT NULL, "
    "PRIMARY KEY (quarter, caller, team, model, labels, unit, outcome))",
    "CREATE INDEX IF NOT EXISTS spending_gone ON finetune.spending (jobs) WHERE jobs <= 0",
    "CREATE TABLE IF NOT EXISTS finetune.totals (subject text COLLATE \"C\" NOT NULL, "
    "until bigint NOT NULL, start bigint NOT NULL, measure text COLLATE \"C\" NOT NULL, "
    "amount bigint NOT NULL, PRIMARY KEY (subject, until, start, measure)) "
    "WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200)",
    // Each commit sets both. A gateway of an older version would not count what it submits: the
    // check refuses its commits, and it goes on reading until it is replaced.
    "ALTER TABLE finetune.meta ADD COLUMN IF NOT EXISTS ledger_seq bigint NOT NULL DEFAULT 0",
    "UPDATE finetune.meta SET ledger_seq = seq",
    "ALTER TABLE finetune.meta DROP CONSTRAINT IF EXISTS written_by_gateways_that_count_spending",
    ("ALTER TABLE finetune.meta ADD CONSTRAINT written_by_gateways_that_count_spending "
     "CHECK (ledger_seq = seq)"),
};

// Adds the statements for what a batch changes; their number does not grow with the rows.
void AddLedgerQueries(const StoreBatch& batch, std::vector<PgQuery>& queries);

// Each is one statement, and what its rows say.
PgQuery FindTotalsQuery(const std::vector<TotalKey>& keys);
std::vector<std::optional<int64_t>> TotalsOf(const PgRows& rows);
PgQuery ReadSpendingQuery(const Store::SpendingQuery& query);
SpendingRows SpendingRowsOf(const PgRows& rows);

}  // namespace finetune
