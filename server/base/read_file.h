#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace finetune {

// What a file from outside holds: settings, keys, certificates.
struct FileText {
  // Without the UTF-8 byte order mark that some editors write.
  std::string text;
  // False for a pipe, such as that of a shell's `<(command)`, which gives its bytes only once.
  bool lasting = true;
};

// Reads a whole file, or a pipe to its end. INVALID_ARGUMENT, naming the path and the reason, if it
// cannot be read, holds more than 4 MiB, or is a pipe that is silent for ten seconds.
absl::StatusOr<FileText> ReadFile(const std::string& path);

}  // namespace finetune
