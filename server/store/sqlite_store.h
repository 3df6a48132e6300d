#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/store.h"

namespace finetune {

// How to open a record.
struct SqliteOptions {
  // The operator knows that the record lacks its last commits, or is gone, and wants to go on with
  // what there is.
  bool accept_lost_record = false;
  // It is opened to finish a move that was interrupted.
  bool accept_unfinished_move = false;
};

// Opens the record in one SQLite file (WAL, synchronous=FULL), locked against other processes, with
// a mark beside it that says how far it must reach (store_mark.h). Makes missing folders.
// `:memory:` is for tests that need no restart. FAILED_PRECONDITION, in one clear sentence, if it
// cannot be opened, is held by another process, was written by a newer version, or lacks what the
// mark says; DATA_LOSS if it is damaged.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path,
                                                       const SqliteOptions& options = {});

}  // namespace finetune
