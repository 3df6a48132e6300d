#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/store/pg_connection.h"
#include "server/store/record_copy.h"

namespace finetune {

// FAILED_PRECONDITION, as a start on the database would say it.
absl::StatusOr<std::unique_ptr<RecordSource>> OpenPostgresSource(const PgTarget& target);
absl::StatusOr<std::unique_ptr<RecordTarget>> OpenPostgresTarget(const PgTarget& target);

}  // namespace finetune
