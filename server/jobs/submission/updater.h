#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "server/base/cancellation.h"
#include "server/jobs/record/recorder.h"
#include "server/segmind/segmind_client.h"
#include "server/spending/spending_rules.h"

namespace finetune {

// A checked UpdateFineTuneRequest.
struct UpdateCall {
  std::string id;
  std::string etag;  // Empty: any.
  std::optional<pb::FineTune::Visibility> visibility;
  // Replaces all labels, or sets (a value) and removes (nullopt) single ones.
  std::optional<std::map<std::string, std::string>> labels;
  std::vector<std::pair<std::string, std::optional<std::string>>> label_changes;
  // Labels that the request carries and no path of its mask names. A client that sends back the job
  // that it read has them as the job has them; any other is a mistake in the mask.
  std::map<std::string, std::string> unnamed_labels;
  absl::Time deadline;
  TraceContext trace;
  std::shared_ptr<Sharer> sharer;  // Of the rate limit; null for the gateway's own.
  // Whether somebody still waits for it; null: yes.
  std::shared_ptr<const Cancellation> cancellation;
  // Whose rules guard labels; null: none are guarded.
  std::shared_ptr<const Spender> spender = nullptr;
};

// Changes a job at Segmind (visibility) and in the record (labels). Updates of one job run one
// after another. Thread-safe.
class Updater {
 public:
  // Updates of one job that are under way or wait for it.
  static constexpr size_t kMaxPerJob = 256;

  Updater(SegmindClient& segmind, Recorder& recorder, Catalog& catalog);
  ~Updater();

  // The job afterwards. NOT_FOUND, ABORTED / ETAG_MISMATCH, INVALID_ARGUMENT / INVALID_FIELD for a
  // label to be removed that the job does not have, for an unnamed one that it does not have and
  // for one that spending is counted by, FAILED_PRECONDITION while Segmind's id is unknown,
  // RESOURCE_EXHAUSTED / OVERLOADED while kMaxPerJob updates of this job wait, and Segmind's
  // errors. An update that is cancelled ends with CANCELLED at any stage; the next list shows what
  // Segmind made of its visibility.
  void Update(UpdateCall call, absl::AnyInvocable<void(absl::StatusOr<VersionPtr>) &&> done);

 private:
  class Core;
  std::shared_ptr<Core> core_;
};

}  // namespace finetune
