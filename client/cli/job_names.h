// Jobs as people call them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"

namespace finetune::cli {

// `fineTunes/{id}` of the job that `text` means: its name, its id, the beginning of its id if it is
// no other's, or its display name. A full name or a UUID is taken as it is, without a call.
// NOT_FOUND; INVALID_ARGUMENT if it may mean several, with some of them.
absl::StatusOr<std::string> ResolveJob(FineTuneClient& client, const std::string& text);

}  // namespace finetune::cli
