#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace finetune::cli {

struct ZippedFolder {
  // What lies in the zip.
  std::vector<std::string> images;
  // What lies in the folder and was left out: other files, hidden ones, sub-folders.
  std::vector<std::string> left_out;
};

// Writes the images of `folder` (jpg, jpeg, png, webp; not those of its sub-folders) into a new zip
// at `path`, flat, as Segmind wants them, and uncompressed, as images already are. INVALID_ARGUMENT
// for a folder that cannot be read, has no image, or more than a zip of 4 GiB holds.
absl::StatusOr<ZippedFolder> ZipFolder(const std::string& folder, const std::string& path);

}  // namespace finetune::cli
