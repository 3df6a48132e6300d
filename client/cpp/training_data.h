#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/unnamed_file.h"

namespace finetune::inline client {

// Training data, checked before a byte is sent: a zip, or the zip of a folder of images. Sending it
// again costs time, and a training that fails costs money.
struct TrainingData {
  // The zip to send, and what it is called at its other end.
  std::string path;
  std::string file_name;
  int64_t size_bytes = 0;
  int image_count = 0;
  int caption_count = 0;
  // What was done with a folder, and what may make the training worse; one sentence each.
  std::vector<std::string> warnings;
  // Why training with it cannot end well; one sentence each.
  std::vector<std::string> faults;
  // The zip of a folder, as long as it is needed.
  std::unique_ptr<UnnamedFile> zip;
};

// LocalFileError() for what cannot be read.
absl::StatusOr<TrainingData> LookAtTrainingData(const std::string& path);

// INVALID_ARGUMENT with the faults, if there are any.
absl::Status FaultsOf(const TrainingData& data);

}  // namespace finetune::inline client
