#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/store/record_copy.h"

namespace finetune {

// FAILED_PRECONDITION or DATA_LOSS, as a start on the file would say it.
absl::StatusOr<std::unique_ptr<RecordSource>> OpenSqliteSource(const std::string& path);
// Makes the file if it is not there.
absl::StatusOr<std::unique_ptr<RecordTarget>> OpenSqliteTarget(const std::string& path);

}  // namespace finetune
