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
  // nullopt if these bytes are no mark: a machine that lost power may leave it empty.
  static std::optional<StoreMark> Decode(const std::string& bytes);
};

// A small file beside the record that says up to where it must reach, so that a start notices a
// record that lost its last commits (its write-ahead log was removed, or damaged) or that is gone.
//
// It is written after each commit and not synced: a killed process loses nothing of it, and after a
// loss of power it may say less than the record has, never more. Not thread-safe.
class MarkFile {
 public:
  explicit MarkFile(std::string path) : path_(std::move(path)) {}
  ~MarkFile();
  MarkFile(const MarkFile&) = delete;
  MarkFile& operator=(const MarkFile&) = delete;

  const std::string& path() const { return path_; }

  // nullopt if there is none.
  std::optional<StoreMark> Read() const;

  // Makes the file if it is not there (any more). An error leaves an older mark: that is safe, so
  // only the first write of a process has to go well.
  absl::Status Write(const StoreMark& mark);
  // To the disk.
  void Sync();

 private:
  absl::Status Open();

  const std::string path_;
  int file_ = -1;
  FileStamp stamp_;
};

}  // namespace finetune
