#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "server/jobs/record/recorder.h"
#include "server/segmind/segmind_client.h"

namespace finetune {

// A checked UpdateFineTuneRequest.
struct UpdateCall {
  std::string id;
  std::string etag;  // Empty: any.
  std::optional<pb::FineTune::Visibility> visibility;
  // Replaces all labels, or sets (a value) and removes (nullopt) single ones.
  std::optional<std::map<std::string, std::string>> labels;
  std::vector<std::pair<std::string, std::optional<std::string>>> label_changes;
  absl::Time deadline;
  TraceContext trace;
};

// Changes a job at Segmind (visibility) and in the record (labels). Updates of one job run one
// after another. Thread-safe.
class Updater {
 public:
  Updater(SegmindClient& segmind, Recorder& recorder, Catalog& catalog);
  ~Updater();

  // The job afterwards. NOT_FOUND, ABORTED / ETAG_MISMATCH, FAILED_PRECONDITION while Segmind's id
  // is unknown, and Segmind's errors.
  void Update(UpdateCall call, absl::AnyInvocable<void(absl::StatusOr<VersionPtr>) &&> done);

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace finetune
