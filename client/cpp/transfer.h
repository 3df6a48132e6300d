// Files through the gateway: datasets in, weights out.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"
#include "client/cpp/partial_file.h"

namespace finetune::inline client {

struct TransferOptions {
  // Called on the caller's thread now and then. `total` is 0 while it is unknown.
  std::function<void(int64_t done, int64_t total)> on_progress;
  // What an upload is called at its other end; the last part of its path if empty.
  std::string file_name;
  // How often in a row a transfer may break without getting any further.
  int attempts = 6;
  BackoffOptions backoff;
  // Downloads: only a file that is weights (.safetensors) gets its name; anything else, such as a
  // web page, is DATA_LOSS and leaves nothing. False takes whatever comes.
  bool check_weights = true;
};

// Sends the zip at `path`. A transfer that breaks is begun again, within `attempts`: the gateway
// keeps nothing. The digest is checked at the other end (DATA_LOSS). UNIMPLEMENTED from a gateway
// that moves no bytes.
absl::StatusOr<pb::Dataset> UploadDataset(FineTuneClient& client, const std::string& path,
                                          bool is_public, const TransferOptions& options = {});

struct Download {
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
absl::StatusOr<Download> DownloadWeights(FineTuneClient& client, const std::string& name,
                                         const std::string& path,
                                         const TransferOptions& options = {});

// For those who fetch by other ways: ends a download whose last attempt ended with `status`. A whole
// file that is weights, as far as the options ask for it, gets its name; one that is not leaves
// nothing; of a broken one what has come stays for the next time.
absl::StatusOr<Download> FinishDownload(PartialFile& file, absl::Status status,
                                        const TransferOptions& options, int64_t resumed_bytes);

}  // namespace finetune::inline client
