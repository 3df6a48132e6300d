#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/reread_files.h"
#include "server/segmind/segmind_client.h"

namespace finetune {

// Where the gateway's Segmind API key comes from: the file at `path`, reread when it changes (also
// when a Kubernetes secret is rotated under it) and when Segmind refuses the key, or, if `path` is
// empty, the environment's SEGMIND_API_KEY. White space around the key does not count. Fails with
// one clear sentence if there is no key to begin with.
absl::StatusOr<std::unique_ptr<ApiKeySource>> MakeApiKeySource(const std::string& path,
                                                               FileRereader& rereader);

}  // namespace finetune
