#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace finetune {

// What is read from a file from outside: settings, keys, certificates.
struct FileText {
  // Without the byte order mark of UTF-8, which editors put in front.
  std::string text;
  // False of what gives its bytes only once: a pipe, such as that of a shell's `<(command)`.
  bool lasting = true;
};

// The whole file, a pipe to its end. INVALID_ARGUMENT that names the path and says why not: also if
// it holds more than 4 MiB, or if a pipe says nothing for ten seconds.
absl::StatusOr<FileText> ReadFile(const std::string& path);

}  // namespace finetune
