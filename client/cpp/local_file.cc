#include "client/cpp/local_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
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
  // Whoever had the lock before may have renamed the file since it was opened here.
  struct stat named = {};
  if (::stat(path.c_str(), &named) == 0 && named.st_dev == own.st_dev && named.st_ino == own.st_ino)
    return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(path, " was replaced by another process"));
}

absl::Status SyncFolderOf(const std::string& path) {
  const std::string folder = std::filesystem::absolute(path).parent_path();
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return LocalFileError("write", folder, errno);
  const int failure = ::fsync(file) == 0 ? 0 : errno;
  ::close(file);
  // Some network file systems cannot sync a folder.
  return failure == 0 || failure == EINVAL ? absl::OkStatus()
                                           : LocalFileError("write", folder, failure);
}

absl::Status WriteFile(const std::string& path, std::string_view content, int mode) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
  if (file < 0) return LocalFileError("write", path, errno);
  int failure = 0;
  while (!content.empty() && failure == 0) {
    const ssize_t put = ::write(file, content.data(), content.size());
    if (put >= 0) {
      content.remove_prefix(put);
    } else if (errno != EINTR) {
      failure = errno;
    }
  }
  if (::close(file) != 0 && failure == 0 && errno != EINTR) failure = errno;
  return failure == 0 ? absl::OkStatus() : LocalFileError("write", path, failure);
}

absl::Status ReplaceFile(const std::string& path, std::string_view content) {
  const std::string draft = absl::StrCat(path, ".tmp");
  if (absl::Status status = WriteFile(draft, content, 0600); !status.ok()) return status;
  if (std::rename(draft.c_str(), path.c_str()) == 0) return absl::OkStatus();
  absl::Status status = LocalFileError("write", path, errno);
  ::unlink(draft.c_str());
  return status;
}

}  // namespace finetune::inline client
