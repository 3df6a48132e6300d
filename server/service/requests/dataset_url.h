#pragma once

#include <memory>
#include <string>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "server/base/error.h"
#include "server/http/http_stream.h"
#include "server/segmind/segmind_client.h"

namespace finetune {

// Checks datasets through their URLs, as Segmind does when a job starts: whether there is one, at a
// public address, small enough, and a zip with images at its top level. Sends a HEAD, and then asks
// for the last bytes, which say what is in a zip. Thread-safe; the streamer outlives it.
class DatasetLooks {
 public:
  // What happens with a dataset that cannot be reached from here, though Segmind may be able to: a
  // mere check reports it, a create goes on with a warning in the log.
  enum class Purpose { kCheck, kCreate };
  using Done = absl::AnyInvocable<void(absl::Status) &&>;

  // `upstream_url` is Segmind's, whose host's files are its own.
  DatasetLooks(HttpStreamer& streamer, const std::string& upstream_url);

  // `done` runs once, on the streamer's thread, within some seconds: OK, or INVALID_ARGUMENT /
  // INVALID_FIELD on fine_tune.data_source_uri. Cancel it through what is returned.
  std::shared_ptr<HttpStream> Start(const pb::FineTune& job, Purpose purpose,
                                    const CallContext& context, Done done) const;

 private:
  HttpStreamer& streamer_;
  const std::string upstream_url_;
};

}  // namespace finetune
