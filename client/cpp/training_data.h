#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/unnamed_file.h"

namespace finetune::inline client {

// Training data that is checked before a byte is sent, because sending it again costs time, and a
// training that fails costs money: a zip, or the zip of a folder of images.
struct TrainingData {
  // The zip to send, and the name that it gets at the other end.
  std::string path;
  std::string file_name;
  int64_t size_bytes = 0;
  int image_count = 0;
  int caption_count = 0;
  // What was done with a folder, and what may make the training worse; one sentence each.
  std::vector<std::string> warnings;
  // Why training with it cannot succeed; one sentence each.
  std::vector<std::string> faults;
  // Keeps the zip of a folder while it is needed.
  std::unique_ptr<UnnamedFile> zip;
};

// LocalFileError() for what cannot be read.
absl::StatusOr<TrainingData> LookAtTrainingData(const std::string& path);

// INVALID_ARGUMENT with the faults, if there are any.
absl::Status FaultsOf(const TrainingData& data);

}  // namespace finetune::inline client
