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
  // Send it even if training with it cannot succeed.
  bool force = false;
  // Let anyone read the file; FAST_FLUX needs it.
  bool public_read = false;
  // The name that it gets at the other end; by default the last part of its path.
  std::string file_name = {};
  OnProgress on_progress = nullptr;
  // How often the transfer is begun, at most.
  int attempts = 6;
  BackoffOptions backoff = {};
};

// Sends a zip, or a folder of images and their captions as one. Checks it first: data that cannot
// be trained with is INVALID_ARGUMENT before a byte is sent, unless forced. A transfer that breaks
// is begun again, up to `attempts` times, because the gateway keeps nothing of it. The digest is
// checked at the other end (DATA_LOSS). UNIMPLEMENTED from a gateway that does not move files.
absl::StatusOr<pb::Dataset> UploadDataset(FineTuneClient& client, const std::string& path,
                                          const UploadOptions& options = {});
// The same for data that was checked already. Its warnings are not repeated in the answer.
absl::StatusOr<pb::Dataset> SendTrainingData(FineTuneClient& client, const TrainingData& data,
                                             const UploadOptions& options = {});

struct DownloadOptions {
  OnProgress on_progress = nullptr;
  // How often in a row the transfer may break without any progress.
  int attempts = 6;
  BackoffOptions backoff = {};
  // True: anything but weights (.safetensors), such as a web page, is DATA_LOSS and leaves no file.
  // False: any file is accepted.
  bool check_weights = true;
};

struct DownloadedWeights {
  int64_t size_bytes = 0;
  // The 32 bytes.
  std::string sha256;
  // How many of the bytes were left by an earlier, broken transfer.
  int64_t resumed_bytes = 0;
};

// Fetches a job's weights into `path`. A transfer that breaks continues where it broke, even in a
// later process, unless the file has changed at its source. Until it is complete the bytes are in
// `PATH.part`, and a file at `path` stays as it was. FAILED_PRECONDITION (WEIGHTS_NOT_READY) while
// there are no weights.
absl::StatusOr<DownloadedWeights> DownloadWeights(FineTuneClient& client, const std::string& name,
                                                  const std::string& path,
                                                  const DownloadOptions& options = {});

// For callers that fetch by other means: ends a download whose last attempt ended with `status`. A
// complete file gets its name if it passes the check that the options ask for, else it is removed.
// A broken download keeps what has arrived for the next attempt.
absl::StatusOr<DownloadedWeights> FinishDownload(PartialFile& file, absl::Status status,
                                                 const DownloadOptions& options,
                                                 int64_t resumed_bytes);

}  // namespace finetune::inline client
