#include "client/cpp/partial_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "client/cpp/local_file.h"
#include "client/cpp/weights_check.h"

namespace finetune::inline client {
namespace {

constexpr size_t kBlock = 1 << 20;

// How often the name may become another file's between opening and locking it; each time another
// process has finished or dropped its own.
constexpr int kMostOpenings = 10;

}  // namespace

absl::StatusOr<std::unique_ptr<PartialFile>> PartialFile::Open(const std::string& path) {
  struct stat there {};
  // The finished file takes the name, and with it the place of whatever has it.
  if (::stat(path.c_str(), &there) == 0 && !S_ISREG(there.st_mode))
    return LocalFileError("write", path,
                          S_ISDIR(there.st_mode) ? "it is a directory" : "it is no regular file");
  for (int opening = 1;; ++opening) {
    const std::string part = path + ".part";
    const int file = ::open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) return LocalFileError("write", part, errno);
    std::unique_ptr<PartialFile> partial(new PartialFile(path, file));
    absl::Status status = LockNamed(file, part);
    if (absl::IsUnavailable(status) && opening < kMostOpenings) continue;
    if (status.ok()) status = partial->Load();
    if (!status.ok()) return status;
    return partial;
  }
}

PartialFile::PartialFile(std::string path, int file) : path_(std::move(path)), file_(file) {}

PartialFile::~PartialFile() { ::close(file_); }

absl::Status PartialFile::Failed(std::string_view what) const {
  return LocalFileError(what, part_path(), errno);
}

absl::Status PartialFile::Load() {
  std::stringstream generation;
  generation << std::ifstream(generation_path(), std::ios::binary).rdbuf();
  generation_ = generation.str();
  // Without its version, nothing can be added to it.
  if (generation_.empty()) return Restart("");
  std::string block(kBlock, '\0');
  while (true) {
    const ssize_t got = ::pread(file_, block.data(), block.size(), size_);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed("read");
    if (got == 0) return absl::OkStatus();
    digest_.Update(std::string_view(block).substr(0, got));
    size_ += got;
  }
}

absl::Status PartialFile::Restart(std::string_view generation) {
  // The version is removed first, because bytes next to a version belong to it.
  ::unlink(generation_path().c_str());
  if (::ftruncate(file_, 0) != 0) return Failed("empty");
  size_ = 0;
  digest_ = Sha256();
  generation_ = std::string(generation);
  if (generation_.empty()) return absl::OkStatus();
  return WriteFile(generation_path(), generation_);
}

absl::Status PartialFile::Append(std::string_view bytes) {
  digest_.Update(bytes);
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(file_, bytes.data(), bytes.size(), size_);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Failed("write");
    size_ += put;
    bytes.remove_prefix(put);
  }
  return absl::OkStatus();
}

absl::Status PartialFile::CheckWeights() const { return CheckWeightsFile(file_, part_path()); }

absl::StatusOr<std::string> PartialFile::Finish() {
  if (::fsync(file_) != 0) return Failed("write");
  if (std::rename(part_path().c_str(), path_.c_str()) != 0)
    return LocalFileError("write", path_, errno);
  ::unlink(generation_path().c_str());
  if (absl::Status status = SyncFolderOf(path_); !status.ok()) return status;
  return digest_.Finish();
}

void PartialFile::Discard() {
  ::unlink(generation_path().c_str());
  ::unlink(part_path().c_str());
}

}  // namespace finetune::inline client
