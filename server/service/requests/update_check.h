#pragma once

#include "absl/status/statusor.h"
#include "server/jobs/submission/updater.h"

namespace finetune {

// What an UpdateFineTuneRequest asks for, except the deadline. Paths of the mask: `visibility`,
// `labels`, `labels.KEY` (the key as it is, or in backticks); without a mask, what the request
// sets. A label that the request carries and the mask does not name is in unnamed_labels.
// INVALID_ARGUMENT / INVALID_FIELD naming every field that is wrong.
absl::StatusOr<UpdateCall> CheckUpdate(const pb::UpdateFineTuneRequest& request);

}  // namespace finetune
