#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace finetune::inline client {

struct FolderZip {
  // Names as they stand in the zip.
  std::vector<std::string> images;
  // Captions of these images, and what describes several of them.
  std::vector<std::string> captions;
  // What lies in the folder and was left out: other files, hidden ones, sub-folders.
  std::vector<std::string> left_out;
  // Images that lie in sub-folders, where nobody looks.
  int images_below = 0;
  // Names that had to be changed, `old -> new`, because they are not UTF-8 or mean a folder.
  std::vector<std::string> renamed;
};

// Writes the images of `folder` (dataset_files.h; not those of its sub-folders) and their captions
// into a new zip at `path`, flat, as Segmind wants them, and uncompressed, as images already are;
// the same files give the same zip. INVALID_ARGUMENT for more than a zip holds; LocalFileError()
// for what cannot be read or written. A folder without images gives a zip without them.
absl::StatusOr<FolderZip> ZipFolder(const std::string& folder, const std::string& path);

}  // namespace finetune::inline client
