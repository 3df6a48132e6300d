#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/base/reread_files.h"
#include "server/segmind/segmind_client.h"

namespace finetune {

// The source of the gateway's Segmind API key: the file at `path`, reread when it changes (also
// when Kubernetes rotates the secret) and when Segmind refuses the key, or SEGMIND_API_KEY in the
// environment if `path` is empty. White space around the key does not count. Fails with one clear
// sentence if there is no key at first.
absl::StatusOr<std::unique_ptr<ApiKeySource>> MakeApiKeySource(const std::string& path,
                                                               FileRereader& rereader);

}  // namespace finetune
