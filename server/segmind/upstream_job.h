#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "google/protobuf/struct.pb.h"
#include "server/base/error.h"
#include "server/base/secret.h"

namespace finetune {

// One job as one answer of Segmind shows it. The two shapes that Segmind documents (details, list
// item) have different fields; what the answer lacks, or has as null, is absent. Strings are valid
// UTF-8, without the signatures of the URLs in them.
struct UpstreamJob {
  // `finetune_id`, else `id`, else `request_id`; never empty.
  std::string id;
  // `id` where it differs from `finetune_id`; both name the job.
  std::string request_id;
  // Verbatim; empty if the answer has none.
  std::string status;
  // The fields of JobFields(), as far as the answer has them.
  pb::FineTune fields;
  std::optional<std::string> name;
  std::optional<std::string> error_message;
  std::optional<std::string> cloud_storage_url;
  // The same as it came, where it was signed: to fetch by, soon, and not to be kept.
  std::optional<Secret> signed_weights_url;
  // `public_model`, `segmind_public_model` or `segmind_public`.
  std::optional<bool> is_public;
  std::optional<absl::Time> created;
  std::optional<absl::Time> updated;
  std::optional<pb::TrainingParameters> parameters;
  std::optional<google::protobuf::Struct> model_information;
  // What it costs, in millionths of a credit, where the answer says so.
  std::optional<int64_t> billed_micros;
  // Times that it gives and that cannot be read; they are absent here.
  int unread_times = 0;
  // Whether this came from `details`, so that its missing fields are truly absent there.
  bool from_details = false;
};

// The state that Segmind's word means, in upper or lower case and with any separators; also for
// other words for an end (ABORTED, TRAINING_ERROR, MODEL_READY). An unknown word is
// STATE_UNSPECIFIED; the caller then keeps the job's state and shows the word.
pb::FineTune::State StateOf(std::string_view upstream_status);

bool IsTerminal(pb::FineTune::State state);

// The reason behind one of Segmind's error messages.
pb::Failure::Reason FailureReasonOf(std::string_view error_message);

// Whether it can name a job: it has nothing that a path, a terminal or a database's text would
// misunderstand.
bool CanNameJob(std::string_view id);

}  // namespace finetune
