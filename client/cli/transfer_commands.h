#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/session.h"
#include "client/cpp/training_data.h"

namespace finetune::cli {

// Checks a zip, or zips a folder of images, and prints what is in it. INVALID_ARGUMENT for data
// that cannot be trained with, unless forced.
absl::StatusOr<TrainingData> LookAtData(Session& session, const std::string& path, bool force);

// Sends the data, through the gateway or directly to the storage; shows progress and warnings.
absl::StatusOr<pb::Dataset> SendData(Session& session, FineTuneClient& client,
                                     const TrainingData& data, bool is_public);

}  // namespace finetune::cli
