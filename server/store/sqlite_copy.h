#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/record_copy.h"

namespace finetune {

// A record in a file, as what CopyStore moves from. FAILED_PRECONDITION or DATA_LOSS, in the words
// of a start on the file.
absl::StatusOr<std::unique_ptr<RecordSource>> OpenSqliteSource(const std::string& path);
// The same for what it moves to. Makes the file if it does not exist.
absl::StatusOr<std::unique_ptr<RecordTarget>> OpenSqliteTarget(const std::string& path);

}  // namespace finetune
