#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace finetune::inline client {

// A file for data that is needed only while this process lives. It has no name, so nothing of it
// remains, however the process ends.
class UnnamedFile {
 public:
  // In the directory for temporary files: $TMPDIR, or /tmp.
  static absl::StatusOr<std::unique_ptr<UnnamedFile>> Make();
  ~UnnamedFile();
  UnnamedFile(const UnnamedFile&) = delete;
  UnnamedFile& operator=(const UnnamedFile&) = delete;

  // A path by which this process can open it, any number of times, while the UnnamedFile lives.
  std::string path() const;

 private:
  explicit UnnamedFile(int descriptor) : descriptor_(descriptor) {}

  const int descriptor_;
};

}  // namespace finetune::inline client
