#include "client/cpp/unnamed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "absl/strings/str_cat.h"

namespace finetune::inline client {
namespace {

// Not every file system makes files that never had a name (O_TMPFILE).
int Open(const std::string& directory) {
  const int descriptor = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return descriptor;
  std::string name = directory + "/finetune-XXXXXX";
  const int named = mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) unlink(name.c_str());
  return named;
}

}  // namespace

absl::StatusOr<std::unique_ptr<UnnamedFile>> UnnamedFile::Make() {
  std::error_code error;
  const std::filesystem::path directory = std::filesystem::temp_directory_path(error);
  if (error) {
    const char* variable = std::getenv("TMPDIR");
    return absl::InvalidArgumentError(absl::StrCat("cannot keep temporary files in ",
                                                   variable != nullptr ? variable : "/tmp", ": ",
                                                   error.message(), "; set TMPDIR to a directory"));
  }
  const int descriptor = Open(directory.string());
  if (descriptor < 0) {
    return absl::InvalidArgumentError(absl::StrCat("cannot make a temporary file in ",
                                                   directory.string(), ": ", std::strerror(errno),
                                                   "; set TMPDIR to a directory with room"));
  }
  return std::unique_ptr<UnnamedFile>(new UnnamedFile(descriptor));
}

UnnamedFile::~UnnamedFile() { close(descriptor_); }

std::string UnnamedFile::path() const { return absl::StrCat("/proc/self/fd/", descriptor_); }

}  // namespace finetune::inline client
