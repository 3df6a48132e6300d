#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/error.h"
#include "server/base/secret.h"
#include "server/http/http_client.h"

namespace finetune {

// Segmind's endpoints, UPSTREAM.md.
enum class UpstreamCall {
  kSubmit,
  kDetails,
  kList,
  kUploadUrl,
  kAccessUpdate,
  kDownloadUrl,
};
inline constexpr UpstreamCall kUpstreamCalls[] = {
    UpstreamCall::kSubmit,    UpstreamCall::kDetails,      UpstreamCall::kList,
    UpstreamCall::kUploadUrl, UpstreamCall::kAccessUpdate, UpstreamCall::kDownloadUrl};

// As in metrics, logs and ErrorInfo.
std::string_view NameOf(UpstreamCall call);

// What a call was about, for its errors.
struct CallSubject {
  UpstreamCall call;
  std::string upstream_id;  // Empty for calls that are about no job.
};

// The one table from an answer that is not 2xx to a typed error. Segmind's own words are quoted
// where they help the caller, cleaned of `key`, of other credentials and of what makes URLs secret.
absl::Status StatusOfAnswer(const CallSubject& subject, const HttpResponse& response,
                            absl::Time now, const Secret& key);

// From the transport's failure to a typed error. `caller_gave_up`: it was the caller's deadline
// that passed, not our own limit for one try.
absl::Status StatusOfTransport(const CallSubject& subject, const absl::Status& transport,
                               bool caller_gave_up);

// A 2xx answer that cannot be read.
absl::Status MalformedAnswer(const CallSubject& subject, const HttpResponse& response,
                             std::string_view why);

// When Segmind takes calls again, from a 429's x-rate-limit-reset-at-utc (whose format is not
// documented: RFC 3339, an HTTP date, seconds or milliseconds since 1970, or seconds from now) or
// Retry-After. Nullopt if there is none, or if it is over or more than an hour away.
std::optional<absl::Time> ResetTimeOf(const HttpResponse& response, absl::Time now);

// What an error body says, in at most 300 bytes of one line; empty if it is no JSON.
std::string UpstreamWords(std::string_view body, const Secret& key);

}  // namespace finetune
