#include "server/base/read_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace finetune {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  std::string text;
  char block[8192];
  ssize_t got = file;
  while (got >= 0 && (got = read(file, block, sizeof(block))) > 0)
    text.append(block, static_cast<size_t>(got));
  const int error = errno;
  if (file >= 0) close(file);
  if (got == 0) return text;
  return absl::InvalidArgumentError(
      absl::StrCat("cannot read '", path, "': ", std::strerror(error)));
}

}  // namespace finetune
