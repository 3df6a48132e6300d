// Whether a file is weights in the .safetensors format.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/base/weights_head.h"

namespace finetune::inline client {

// OK if a file may begin with these bytes (up to kTellingBytes of them, fewer only if it has no
// more) and be of the format: the length of a header in JSON, then its first brace. DATA_LOSS that
// says what came instead, such as a web page, a storage's error in XML, or a Git LFS pointer.
absl::Status CheckWeightsStart(std::string_view start);

// OK if the whole file is of the format: the header can be read, and the tensors that it names are
// all there. DATA_LOSS if not; LocalFileError() if the file cannot be read.
absl::Status CheckWeightsFile(int file, std::string_view path);

// Whether one of the two said that the file is not weights: all bytes came, so that trying again
// does not help.
bool IsNoWeights(const absl::Status& status);

}  // namespace finetune::inline client
