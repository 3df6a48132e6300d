// Files through the gateway: datasets in, weights out.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/client.h"

namespace finetune::inline client {

struct TransferOptions {
  // Called on the caller's thread now and then. `total` is 0 while it is unknown.
  std::function<void(int64_t done, int64_t total)> on_progress;
  // What an upload is called at its other end; the last part of its path if empty.
  std::string file_name;
  // How often in a row a transfer may break without getting any further.
  int attempts = 6;
  BackoffOptions backoff;
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
// in `PATH.part`. FAILED_PRECONDITION (WEIGHTS_NOT_READY) while there are none.
absl::StatusOr<Download> DownloadWeights(FineTuneClient& client, const std::string& name,
                                         const std::string& path,
                                         const TransferOptions& options = {});

}  // namespace finetune::inline client
