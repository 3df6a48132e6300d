#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/store/sqlite_session.h"
#include "server/store/sqlite_store.h"
#include "server/store/store_mark.h"

namespace finetune {

// Compares a record with the mark beside it, at a start.
//
// A file that this gateway left and that now ends earlier has lost its last commits: there is no
// start without a word of whoever runs it. A file that somebody put there is served, as another
// history; but submissions that it does not know are refused until then, for they may have been
// made after the copy was taken, and a second one is billed.

// FAILED_PRECONDITION if there is a mark and no record.
absl::Status CheckRecordIsThere(const std::string& path, const std::optional<StoreMark>& mark,
                                const SqliteOptions& options);

// What SqliteMeta.lost is to be. FAILED_PRECONDITION if the record lacks what the mark says.
absl::StatusOr<std::string> JudgeRecord(const SqliteSession& session, const Lineage& lineage,
                                        const std::optional<StoreMark>& mark,
                                        const SqliteOptions& options);

}  // namespace finetune
