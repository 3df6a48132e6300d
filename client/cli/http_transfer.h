// Moves files directly to and from Segmind's storage, for gateways that do not move them.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/transfer.h"

namespace finetune::cli {

// PUTs the file with exactly these headers. Errors do not show the URL, which is a secret.
absl::Status PutFile(const std::string& path, const std::string& url,
                     const std::map<std::string, std::string>& headers,
                     const UploadOptions& options);

// Fetches `url` into `path`, continuing where an earlier transfer broke, unless the file has
// changed (ETag).
absl::StatusOr<DownloadedWeights> GetFile(const std::string& url, const std::string& path,
                                          const DownloadOptions& options);

}  // namespace finetune::cli
