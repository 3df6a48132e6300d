#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/sha256.h"

namespace finetune::inline client {

// A file that is being fetched: its bytes gather in `PATH.part` and get the final name only when
// all are there. What is there already is kept for a later attempt, also of another process,
// together with the version of the source that it is from (`PATH.part.generation`). Locked against
// a second fetch of the same path. What the disk refuses is a LocalFileError(). Not thread-safe.
class PartialFile {
 public:
  // FAILED_PRECONDITION while another process fetches the same path.
  static absl::StatusOr<std::unique_ptr<PartialFile>> Open(const std::string& path);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  // The bytes that are there, and the version they are of; empty without bytes.
  int64_t size() const { return size_; }
  const std::string& generation() const { return generation_; }

  // Drops what is there: from now on the file is of this version. An empty one cannot be continued
  // later.
  absl::Status Restart(std::string_view generation);
  absl::Status Append(std::string_view bytes);

  // Whether what is there is all of a file of weights: see CheckWeightsFile().
  absl::Status CheckWeights() const;

  // Gives the complete file its name, durably. Returns the SHA-256 of its bytes. Nothing else may
  // be called afterwards.
  absl::StatusOr<std::string> Finish();

  // The SHA-256 of the bytes that are there.
  std::string Digest() const { return Sha256(digest_).Finish(); }

  // Leaves nothing of the bytes that are there. Nothing else may be called afterwards.
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
