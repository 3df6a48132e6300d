#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

namespace finetune {

// What a file looked like: enough to notice that it was removed, replaced or written by somebody
// else. Attributes that backups and administrators change (owner, mode, access time) do not count.
struct FileStamp {
  bool exists = false;
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t size = 0;
  int64_t mtime_nanos = 0;

  bool operator==(const FileStamp&) const = default;

  bool SameFile(const FileStamp& other) const {
    return exists && other.exists && device == other.device && inode == other.inode;
  }

  static FileStamp Of(const std::string& path) {
    struct stat info;
    return stat(path.c_str(), &info) == 0 ? From(info) : FileStamp();
  }
  static FileStamp OfOpen(int file) {
    struct stat info;
    return fstat(file, &info) == 0 ? From(info) : FileStamp();
  }

 private:
  static FileStamp From(const struct stat& info) {
    return {.exists = true,
            .device = info.st_dev,
            .inode = info.st_ino,
            .size = info.st_size,
            .mtime_nanos = info.st_mtim.tv_sec * int64_t{1'000'000'000} + info.st_mtim.tv_nsec};
  }
};

}  // namespace finetune
