#pragma once

#include <string>

#include "absl/status/status.h"
#include "server/store/pg_connection.h"

namespace finetune {

// Moves a record from an SQLite file, which no gateway may have open, to a database that has none:
// revisions, tokens, page tokens and request_ids go on. All of it or nothing; afterwards no gateway
// starts on the file any more. Errors are one sentence.
absl::Status CopyStore(const std::string& sqlite_path, const PgTarget& target);

}  // namespace finetune
