#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/store/sqlite_session.h"
#include "server/store/sqlite_store.h"
#include "server/store/store_mark.h"

namespace finetune {

// At a start, compares a record with the mark beside it.
//
// A file that this gateway left and that now ends earlier has lost its last commits: the gateway
// does not start on it until its operator says so (SqliteOptions.accept_lost_record). A file that
// somebody put there is served, as another history; but submissions that it does not know are
// refused until the operator says so, because they may have been made after the copy was taken, and
// a second one would be billed.

// FAILED_PRECONDITION if there is a mark and no record.
absl::Status CheckRecordIsThere(const std::string& path, const std::optional<StoreMark>& mark,
                                const SqliteOptions& options);

// The new value of SqliteMeta.lost. FAILED_PRECONDITION if the record lacks what the mark says.
absl::StatusOr<std::string> JudgeRecord(const SqliteSession& session, const Lineage& lineage,
                                        const std::optional<StoreMark>& mark,
                                        const SqliteOptions& options);

}  // namespace finetune
