#pragma once

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/error.h"
#include "server/http/http_stream.h"
#include "server/segmind/segmind_client.h"

namespace finetune {

// Asks with a HEAD what Segmind will ask when the job starts: whether the dataset of `job` is
// there, at a public address, and small enough. `done` runs once, on the streamer's thread: OK, or
// INVALID_ARGUMENT / INVALID_FIELD on fine_tune.data_source_uri. The look can be ended early.
std::shared_ptr<HttpStream> CheckDatasetUrl(HttpStreamer& streamer, const pb::FineTune& job,
                                            const CallContext& context,
                                            absl::AnyInvocable<void(absl::Status) &&> done);

}  // namespace finetune
