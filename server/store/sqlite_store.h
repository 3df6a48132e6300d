#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/store.h"

namespace finetune {

struct SqliteOptions {
  // Whoever runs the gateway knows that the record lacks what was committed last, or that it is
  // gone, and wants to go on with what there is.
  bool accept_lost_record = false;
};

// The record in one SQLite file (WAL, synchronous=FULL), locked against a second process, with a
// mark beside it that says up to where it must reach (store_mark.h). Folders on the way are made.
// `:memory:` for tests that need no restart. FAILED_PRECONDITION, in one clear sentence, if it
// cannot be opened, is held by another process, was written by a newer version, or lacks what the
// mark says; DATA_LOSS if it is damaged.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path,
                                                       const SqliteOptions& options = {});

}  // namespace finetune
