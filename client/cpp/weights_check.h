// Checks that a file is weights in the .safetensors format.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/base/weights_head.h"

namespace finetune::inline client {

// OK if a file that begins with `start` (kTellingBytes of it, or all if it is shorter) may have the
// format: the length of a JSON header, then its first brace. DATA_LOSS that says what came instead,
// such as a web page, a storage's error in XML, or a Git LFS pointer.
absl::Status CheckWeightsStart(std::string_view start);

// OK if the whole file has the format: the header can be read, and all tensors that it names are
// there. DATA_LOSS if not; LocalFileError() if the file cannot be read.
absl::Status CheckWeightsFile(int file, std::string_view path);

// Whether `status` is DATA_LOSS from one of the two: all bytes arrived, so trying again does not
// help.
bool IsNoWeights(const absl::Status& status);

}  // namespace finetune::inline client
