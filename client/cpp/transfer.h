// Files through the gateway: datasets in, weights out.
#pragma once

#include <segmind/finetune/v1/fine_tune_service.pb.h>

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/partial_file.h"
#include "client/cpp/retry_backoff.h"
#include "client/cpp/training_data.h"

namespace finetune::inline client {

namespace pb = ::segmind::finetune::v1;

class FineTuneClient;

// Called on the caller's thread now and then. `total` is 0 while it is unknown.
using OnProgress = std::function<void(int64_t done, int64_t total)>;

struct UploadOptions {
  // Send it although training with it cannot end well.
  bool force = false;
  // Let anyone read the file; FAST_FLUX needs it.
  bool public_read = false;
  // What it is called at its other end; the last part of its path if empty.
  std::string file_name = {};
  OnProgress on_progress = nullptr;
  // How often it is begun.
  int attempts = 6;
  BackoffOptions backoff = {};
};

// Sends a zip, or a folder of images and their captions as one. It is looked at first: what cannot
// be trained with is INVALID_ARGUMENT before a byte is sent, unless forced. A transfer that breaks
// is begun again, within `attempts`: the gateway keeps nothing. The digest is checked at the other
// end (DATA_LOSS). UNIMPLEMENTED from a gateway that moves no bytes.
absl::StatusOr<pb::Dataset> UploadDataset(FineTuneClient& client, const std::string& path,
                                          const UploadOptions& options = {});
// The same for what was looked at already. The warnings about it are not repeated in the answer.
absl::StatusOr<pb::Dataset> SendTrainingData(FineTuneClient& client, const TrainingData& data,
                                             const UploadOptions& options = {});

struct DownloadOptions {
  OnProgress on_progress = nullptr;
  // How often in a row it may break without getting any further.
  int attempts = 6;
  BackoffOptions backoff = {};
  // Only a file that is weights (.safetensors) gets its name; anything else, such as a web page, is
  // DATA_LOSS and leaves nothing. False takes whatever comes.
  bool check_weights = true;
};

struct DownloadedWeights {
  int64_t size_bytes = 0;
  // The 32 bytes.
  std::string sha256;
  // How many of the bytes an earlier, broken transfer had left.
  int64_t resumed_bytes = 0;
};

// Fetches a job's weights into `path`. A transfer that breaks goes on where it broke, also one of
// an earlier process, unless the file has changed at its source; until it is complete the bytes are
// in `PATH.part`, and a file at `path` stays as it was. FAILED_PRECONDITION (WEIGHTS_NOT_READY)
// while there are none.
absl::StatusOr<DownloadedWeights> DownloadWeights(FineTuneClient& client, const std::string& name,
                                                  const std::string& path,
                                                  const DownloadOptions& options = {});

// For callers that fetch by other means: ends a download whose last attempt ended with `status`. A
// complete file gets its name if it passes the check that the options ask for, and is removed if it
// does not; of a broken one, what has arrived stays for the next attempt.
absl::StatusOr<DownloadedWeights> FinishDownload(PartialFile& file, absl::Status status,
                                                 const DownloadOptions& options,
                                                 int64_t resumed_bytes);

}  // namespace finetune::inline client
