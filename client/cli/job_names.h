// Finds jobs by the names that people give them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"

namespace finetune::cli {

// `fineTunes/{id}` of the job that `text` means: its name, its id, the beginning of its id if no
// other id begins so, or its display name. A full name or a UUID is taken as it is, without a call.
// NOT_FOUND if there is none; INVALID_ARGUMENT, listing some, if it may mean several.
absl::StatusOr<std::string> ResolveJob(FineTuneClient& client, const std::string& text);

}  // namespace finetune::cli
