#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/store.h"

namespace finetune {

// The record in one SQLite file (WAL, synchronous=FULL), locked against a second process. Folders
// on the way are made.
// `:memory:` for tests that need no restart. FAILED_PRECONDITION, in one clear sentence, if it
// cannot be opened, is held by another process, or was written by a newer version.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path);

}  // namespace finetune
