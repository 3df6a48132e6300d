#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace finetune::inline client {

// A small file, such as one with a token, that is read again when it has changed. A pipe, which can
// be read only once, keeps its text. Not thread-safe.
class ChangingFile {
 public:
  // `what` says in errors what the file is for. Without a path there is no file, and no text.
  ChangingFile(std::string what, std::string path)
      : what_(std::move(what)), path_(std::move(path)) {}

  // Looks at the file. INVALID_ARGUMENT that names it if it cannot be read or is empty; text()
  // stays what it was.
  absl::Status Look();

  const std::string& path() const { return path_; }
  const std::string& text() const { return text_; }

 private:
  // Tells two versions of a file apart.
  struct Stamp {
    uint64_t device = 0;
    uint64_t inode = 0;
    int64_t size = -1;
    int64_t changed_nanos = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp StampOf(const struct stat& facts);

  const std::string what_;
  const std::string path_;
  Stamp stamp_;
  bool read_once_ = false;
  std::string text_;
};

}  // namespace finetune::inline client
