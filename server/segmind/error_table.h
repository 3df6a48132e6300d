#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/error.h"
#include "server/http/http_client.h"
#include "server/segmind/scrubber.h"

namespace finetune {

// Segmind's endpoints.
enum class UpstreamCall {
  kSubmit,
  kDetails,
  kList,
  kUploadUrl,
  kAccessUpdate,
  kDownloadUrl,
  kCredits,
};
inline constexpr UpstreamCall kUpstreamCalls[] = {
    UpstreamCall::kSubmit,    UpstreamCall::kDetails,      UpstreamCall::kList,
    UpstreamCall::kUploadUrl, UpstreamCall::kAccessUpdate, UpstreamCall::kDownloadUrl,
    UpstreamCall::kCredits};

// As in metrics, logs and ErrorInfo.
std::string_view NameOf(UpstreamCall call);

// What a call was about, for its errors.
struct CallSubject {
  UpstreamCall call;
  std::string upstream_id;  // Empty for calls that are about no job.
};

// What an answer that is not 2xx comes to.
struct AnswerVerdict {
  // A typed error. Segmind's own words are quoted, cleaned of credentials.
  absl::Status status;
  // Segmind says, in JSON of its own and with a definite code, that it did nothing. If not, the
  // outcome of a submit is open: a page, for one, proves nothing.
  bool refused = false;
  // The body is JSON of Segmind's own that says what is wrong.
  bool in_own_words = false;
  // How long it asks to wait, if it does.
  std::optional<absl::Duration> retry_after;
};

// The one table from (call, HTTP code, kind of body) to an outcome; server/README.md, "What
// Segmind's answers mean", shows it.
AnswerVerdict JudgeAnswer(const CallSubject& subject, const HttpResponse& response, absl::Time now,
                          const Scrubber& scrubber);

// The typed error for a failure of the transport. `caller_gave_up`: the caller's deadline passed,
// not our own limit for one try.
absl::Status StatusOfTransport(const CallSubject& subject, const absl::Status& transport,
                               bool caller_gave_up);

// A 2xx answer that cannot be read.
absl::Status MalformedAnswer(const CallSubject& subject, const HttpResponse& response,
                             std::string_view why, const Scrubber& scrubber);

}  // namespace finetune
