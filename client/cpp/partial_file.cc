#include "client/cpp/partial_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace finetune::inline client {
namespace {

constexpr size_t kBlock = 1 << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<PartialFile>> PartialFile::Open(const std::string& path) {
  const std::string part = path + ".part";
  const int file = ::open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", part));
  std::unique_ptr<PartialFile> partial(new PartialFile(path, file));
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(part, " is being written by another process"));
  }
  if (absl::Status status = partial->Load(); !status.ok()) return status;
  return partial;
}

PartialFile::PartialFile(std::string path, int file) : path_(std::move(path)), file_(file) {}

PartialFile::~PartialFile() { ::close(file_); }

absl::Status PartialFile::Failed(std::string_view what) const {
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot ", std::string(what), " ", part_path()));
}

absl::Status PartialFile::Load() {
  std::stringstream generation;
  generation << std::ifstream(generation_path(), std::ios::binary).rdbuf();
  generation_ = generation.str();
  // Without its version nothing can be added to it.
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
  // The version goes first: bytes that lie under a version are of it.
  ::unlink(generation_path().c_str());
  if (::ftruncate(file_, 0) != 0) return Failed("empty");
  size_ = 0;
  digest_ = Sha256();
  generation_ = std::string(generation);
  if (generation_.empty()) return absl::OkStatus();
  std::ofstream file(generation_path(), std::ios::binary | std::ios::trunc);
  file << generation_;
  file.close();
  if (!file.good()) return absl::InternalError(absl::StrCat("cannot write ", generation_path()));
  return absl::OkStatus();
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

absl::StatusOr<std::string> PartialFile::Finish() {
  if (::fsync(file_) != 0) return Failed("write");
  if (std::rename(part_path().c_str(), path_.c_str()) != 0) return Failed("rename");
  ::unlink(generation_path().c_str());
  return digest_.Finish();
}

}  // namespace finetune::inline client
