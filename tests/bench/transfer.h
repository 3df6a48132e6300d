#pragma once

#include <cstdint>
#include <string>

namespace finetune::bench {

struct TransferOptions {
  std::string target;
  std::string job;           // For a download.
  int64_t size_bytes = 0;    // Of an upload; of a download what is expected, 0: whatever comes.
  bool skip_sha256 = false;  // Of a download.
  int at_once = 1;           // So many of the same, each on a connection of its own.
};

// Reads a job's weights, or sends a dataset that is no zip, as raw bytes and as fast as it goes:
// the client does nothing else with them. Refusals with OVERLOADED are repeated. Prints one JSON
// object. False if one of them failed.
bool RunDownload(const TransferOptions& options);
bool RunUpload(const TransferOptions& options);

}  // namespace finetune::bench
