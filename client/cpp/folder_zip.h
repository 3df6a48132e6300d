#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace finetune::inline client {

// What ZipFolder made of a folder.
struct FolderZip {
  // Names as in the zip.
  std::vector<std::string> images;
  // Captions of these images, and files that describe several of them.
  std::vector<std::string> captions;
  // What is in the folder and was left out: other files, hidden ones, sub-folders.
  std::vector<std::string> left_out;
  // Images in sub-folders, which are left out, too.
  int images_below = 0;
  // Names that had to be changed, `old -> new`, because they are not UTF-8 or mean a folder.
  std::vector<std::string> renamed;
};

// Writes the images of `folder` (see dataset_files.h; not those of its sub-folders) and their
// captions into a new zip at `path`: flat, as Segmind wants it, and uncompressed, because images
// already are compressed. The same files give the same zip. INVALID_ARGUMENT for more than a zip
// can hold; LocalFileError() for what cannot be read or written. A folder without images gives a
// zip without images.
absl::StatusOr<FolderZip> ZipFolder(const std::string& folder, const std::string& path);

}  // namespace finetune::inline client
