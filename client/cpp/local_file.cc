#include "client/cpp/local_file.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace finetune::inline client {
namespace {

constexpr char kLocalFile[] = "finetune.client/local_file";

}  // namespace

absl::Status LocalFileError(std::string_view what, std::string_view path, std::string_view why) {
  absl::Status status = absl::FailedPreconditionError(
      absl::StrCat("cannot ", std::string(what), " ", std::string(path), ": ", std::string(why)));
  status.SetPayload(kLocalFile, absl::Cord());
  return status;
}

absl::Status LocalFileError(std::string_view what, std::string_view path, int error) {
  const char* name = ::strerrorname_np(error);
  return LocalFileError(
      what, path,
      absl::StrCat(::strerrordesc_np(error) != nullptr ? ::strerrordesc_np(error) : "error", " (",
                   name != nullptr ? name : absl::StrCat(error), ")"));
}

bool IsLocalFileError(const absl::Status& status) {
  return status.GetPayload(kLocalFile).has_value();
}

absl::Status LockNamed(int file, const std::string& path) {
  struct stat own = {};
  if (::fstat(file, &own) != 0) return LocalFileError("read", path, errno);
  if (!S_ISREG(own.st_mode)) return LocalFileError("write", path, "it is no regular file");
  while (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return LocalFileError("lock", path, errno);
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is being written by another process"));
  }
  // Who had the lock before may have given the file another name since it was opened here.
  struct stat named = {};
  if (::stat(path.c_str(), &named) == 0 && named.st_dev == own.st_dev && named.st_ino == own.st_ino)
    return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(path, " was replaced by another process"));
}

}  // namespace finetune::inline client
