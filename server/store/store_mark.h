#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "server/store/file_stamp.h"

namespace finetune {

// What the mark beside a record says of it.
struct StoreMark {
  std::string epoch;
  uint64_t era = 0;
  uint64_t seq = 0;
  uint64_t revision = 0;
  // The record's file as it was left.
  FileStamp file;

  std::string Encode() const;
  // nullopt if these bytes are not a mark: a machine that lost power may leave the file empty.
  static std::optional<StoreMark> Decode(const std::string& bytes);
};

// A small file beside the record that says how far the record must reach, so that a start notices
// that it is gone or has lost its last commits (its write-ahead log was removed or damaged).
//
// It is written after each commit but not synced: a killed process loses nothing of it, and after a
// loss of power it may say less than the record has, never more. Not thread-safe.
class MarkFile {
 public:
  explicit MarkFile(std::string path) : path_(std::move(path)) {}
  ~MarkFile();
  MarkFile(const MarkFile&) = delete;
  MarkFile& operator=(const MarkFile&) = delete;

  const std::string& path() const { return path_; }

  // nullopt if there is no mark.
  std::optional<StoreMark> Read() const;

  // Makes the file if it does not exist (any more). An error leaves an older mark, which is safe,
  // so only the first write of a process must succeed.
  absl::Status Write(const StoreMark& mark);
  // Syncs it to the disk.
  void Sync();

 private:
  absl::Status Open();

  const std::string path_;
  int file_ = -1;
  FileStamp stamp_;
};

}  // namespace finetune
