#pragma once

#include "absl/status/statusor.h"
#include "server/base/error.h"

namespace finetune {

// The job that a CreateFineTuneRequest asks for: input fields only, defaults filled in. Output-only
// fields are ignored (AIP-203). INVALID_ARGUMENT / INVALID_FIELD naming every field that is wrong.
absl::StatusOr<pb::FineTune> CheckCreate(const pb::CreateFineTuneRequest& request);

}  // namespace finetune
