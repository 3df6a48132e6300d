#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/sha256.h"

namespace finetune::inline client {

// A file that is being fetched: its bytes are collected in `PATH.part`, which gets the final name
// only when it is complete. The bytes so far are kept for a later attempt, also by another process,
// together with the version of their source (`PATH.part.generation`). Locked against a second fetch
// of the same path. A failure of the disk is a LocalFileError(). Not thread-safe.
class PartialFile {
 public:
  // FAILED_PRECONDITION while another process fetches the same path.
  static absl::StatusOr<std::unique_ptr<PartialFile>> Open(const std::string& path);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  // How many bytes there are, and the version of their source; empty without bytes.
  int64_t size() const { return size_; }
  const std::string& generation() const { return generation_; }

  // Drops the bytes so far: from now on the file is of this version. Without a version it cannot be
  // continued later.
  absl::Status Restart(std::string_view generation);
  absl::Status Append(std::string_view bytes);

  // Whether the bytes are a complete file of weights: see CheckWeightsFile().
  absl::Status CheckWeights() const;

  // Gives the complete file its name, durably. Returns the SHA-256 of its bytes. Nothing else may
  // be called afterwards.
  absl::StatusOr<std::string> Finish();

  // The SHA-256 of the bytes so far.
  std::string Digest() const { return Sha256(digest_).Finish(); }

  // Removes the bytes so far. Nothing else may be called afterwards.
  void Discard();

 private:
  PartialFile(std::string path, int file);

  absl::Status Load();
  absl::Status Failed(std::string_view what) const;
  std::string part_path() const { return path_ + ".part"; }
  std::string generation_path() const { return path_ + ".part.generation"; }

  const std::string path_;
  const int file_;
  int64_t size_ = 0;
  std::string generation_;
  Sha256 digest_;
};

}  // namespace finetune::inline client
