#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/session.h"

namespace finetune::cli {

// Sends a zip, or a folder of images as one, through the gateway or straight to the storage; shows
// progress and warnings.
absl::StatusOr<pb::Dataset> SendDataset(Session& session, FineTuneClient& client,
                                        const std::string& path, bool is_public);

}  // namespace finetune::cli
