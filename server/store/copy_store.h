#pragma once

#include <string>

#include "absl/status/status.h"
#include "server/store/pg_connection.h"

namespace finetune {

// A place for a record: a file, or a database.
struct StorePlace {
  std::string sqlite_path;  // Empty: the database.
  PgTarget database;
};

// Moves a record that no gateway has open to a place that has none. Revisions, resume tokens, page
// tokens and request_ids stay valid. Moves all of it or nothing. Afterwards no gateway starts on
// the old place, nor while it is not known whether the new one has the record: a move that was
// interrupted is finished by the same call again. An error is one sentence.
absl::Status CopyStore(const StorePlace& from, const StorePlace& to);

}  // namespace finetune
