#pragma once

#include "server/store/pg_connection.h"

namespace finetune {

// The form of the tables that this version reads and writes, kept in meta.schema_form. Later forms
// only add to it, so that replicas of two versions work side by side while one replaces the other;
// meta.least_form says which versions may still start. Beside a gateway of the third form, those of
// earlier forms can only read.
inline constexpr int64_t kPostgresForm = 3;

// Makes the tables, or extends them in place to this version's form while gateways of the older
// form go on. Another process that is about to do the same waits. FAILED_PRECONDITION, in one
// sentence, if a right is missing or if the tables are of a newer version that no longer supports
// this one, or if the record went elsewhere; UNAVAILABLE if others hold the tables. Whoever moves
// records may open one of which a move was not finished.
absl::Status PreparePostgresTables(PgConnection& connection, const std::string& epoch,
                                   absl::Time deadline, bool accept_unfinished_move = false);

}  // namespace finetune
