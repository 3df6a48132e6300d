#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/store/pg_connection.h"
#include "server/store/record_copy.h"

namespace finetune {

// A record in a database, as what CopyStore moves from or to. FAILED_PRECONDITION, in the words of
// a start on the database.
absl::StatusOr<std::unique_ptr<RecordSource>> OpenPostgresSource(const PgTarget& target);
absl::StatusOr<std::unique_ptr<RecordTarget>> OpenPostgresTarget(const PgTarget& target);

}  // namespace finetune
