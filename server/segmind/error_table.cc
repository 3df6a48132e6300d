#include "server/segmind/error_table.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "server/base/absl_view.h"
#include "server/segmind/error_words.h"
#include "server/segmind/retry_time.h"

namespace finetune {
namespace {

using absl::StatusCode;

constexpr size_t kMaxRequestId = 128;
constexpr absl::Duration kRetryUnavailable = absl::Seconds(2);
// For a 429 that does not say how long; the limit is per minute.
constexpr absl::Duration kRetryLimited = absl::Seconds(15);

// What callers are told about an answer.
struct CallerError {
  StatusCode code;
  pb::ErrorReason::Reason reason;
  absl::string_view message;  // Before Segmind's words.
};

constexpr CallerError kRejected = {StatusCode::kInvalidArgument, pb::ErrorReason::UPSTREAM_REJECTED,
                                   "Segmind refused the request"};
constexpr CallerError kNoCredits = {
    StatusCode::kResourceExhausted, pb::ErrorReason::UPSTREAM_CREDITS_EXHAUSTED,
    "Segmind's account has no credits left, or is at its spend limit"};
constexpr CallerError kUnavailable = {StatusCode::kUnavailable,
                                      pb::ErrorReason::UPSTREAM_UNAVAILABLE,
                                      "Segmind gave no usable answer"};
constexpr CallerError kMalformed = {StatusCode::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED,
                                    "Segmind does not understand the gateway"};
constexpr CallerError kCredential = {StatusCode::kInternal,
                                     pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED,
                                     "Segmind refused the gateway's own API key"};
constexpr CallerError kUnknownJob = {StatusCode::kNotFound, pb::ErrorReason::FINE_TUNE_NOT_FOUND,
                                     "Segmind has no such fine-tune"};
constexpr CallerError kRetired = {StatusCode::kFailedPrecondition,
                                  pb::ErrorReason::UPSTREAM_RETIRED,
                                  "Segmind has retired this call"};
constexpr CallerError kRetiredSubmit = {StatusCode::kFailedPrecondition,
                                        pb::ErrorReason::UPSTREAM_RETIRED,
                                        "Segmind takes no new fine-tunes"};
constexpr CallerError kLimited = {StatusCode::kResourceExhausted,
                                  pb::ErrorReason::UPSTREAM_RATE_LIMITED,
                                  "Segmind limits the rate of calls"};

// Whether Segmind's own answer with a code says that it made no job.
enum class Submit { kRefused, kOpen };

struct Row {
  int code;
  CallerError error;
  Submit submit;
};

// What each code means if Segmind's own JSON comes with it. A code that is not here means
// kUnavailable and leaves a submit open: 1xx and 2xx that curl did not accept as such, 5xx, which
// say nothing about what was done before the failure, and 3xx, below. A submit that is open is
// never sent again: its job is searched for.
constexpr Row kRows[] = {
    {400, kRejected, Submit::kRefused},    // Malformed, or a missing field: documented.
    {401, kCredential, Submit::kRefused},  // Checked before anything is done.
    {402, kNoCredits, Submit::kRefused},   // Payment comes first.
    {403, kCredential, Submit::kRefused},  // Not permitted, likewise.
    {404, kRejected, Submit::kRefused},    // What the request names is not there.
    {405, kMalformed, Submit::kRefused},   // No such verb: nothing ran.
    {406, kRejected, Submit::kRefused},    // Three things, see MeaningOf406.
    {407, kUnavailable, Submit::kOpen},    // A proxy's word, not Segmind's.
    {408, kUnavailable, Submit::kOpen},    // It waited for the request, or for its own work.
    {409, kRejected, Submit::kRefused},    // In conflict with what there is; each is sent once.
    {410, kRetired, Submit::kRefused},     // Takes no new jobs.
    {411, kMalformed, Submit::kRefused},   // Length, type, headers: read before the request.
    {412, kRejected, Submit::kRefused},    // A condition does not hold, so nothing was done.
    {413, kRejected, Submit::kRefused},    // Too long to be read.
    {414, kMalformed, Submit::kRefused},   // As 411.
    {415, kMalformed, Submit::kRefused},   // As 411.
    {417, kMalformed, Submit::kRefused},   // As 411.
    {421, kMalformed, Submit::kRefused},   // The wrong server, which does nothing.
    {422, kRejected, Submit::kRefused},    // Understood, checked and refused.
    {423, kRejected, Submit::kRefused},    // Locked.
    {424, kRejected, Submit::kOpen},       // Something else failed, perhaps after the job was made.
    {425, kUnavailable, Submit::kOpen},    // "Later", mostly from something in front.
    {426, kMalformed, Submit::kRefused},   // Another protocol is wanted.
    {428, kRejected, Submit::kRefused},    // As 412.
    {429, kLimited, Submit::kRefused},     // Counted before anything is done.
    {431, kMalformed, Submit::kRefused},   // As 411.
    {451, kRejected, Submit::kRefused},    // Forbidden by law.
};

// Any other 4xx: Segmind does not like the request, or the code means nothing for certain.
constexpr Row kOther4xx = {0, kRejected, Submit::kOpen};
// Redirects are not followed: the URL is configured, and the key goes nowhere else.
constexpr Row kRedirect = {0, kMalformed, Submit::kOpen};
constexpr Row kNothing = {0, kUnavailable, Submit::kOpen};

Row RowOf(int code) {
  for (const Row& row : kRows)
    if (row.code == code) return row;
  if (code >= 400 && code < 500) return kOther4xx;
  return code >= 300 && code < 400 ? kRedirect : kNothing;
}

// `text` in lower case, with one space around each word, and credits in the singular.
std::string Spaced(std::string_view text) {
  std::string spaced = " ";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || byte >= 0x80) {
      spaced += static_cast<char>(absl::ascii_tolower(byte));
    } else if (spaced.back() != ' ') {
      spaced += ' ';
    }
  }
  if (spaced.back() != ' ') spaced += ' ';
  return absl::StrReplaceAll(spaced, {{" credits ", " credit "}, {" funds ", " fund "}});
}

template <size_t kCount>
bool HasPhrase(const std::string& spaced, const absl::string_view (&phrases)[kCount]) {
  return std::any_of(std::begin(phrases), std::end(phrases), [&](absl::string_view phrase) {
    return absl::StrContains(spaced, absl::StrCat(" ", phrase, " "));
  });
}

// Whole phrases, because a single word such as `balance` may be about a picture's colours.
constexpr absl::string_view kCreditPhrases[] = {"insufficient credit",
                                                "not enough credit",
                                                "no credit",
                                                "no more credit",
                                                "out of credit",
                                                "ran out of credit",
                                                "credit exhausted",
                                                "credit are exhausted",
                                                "credit have been exhausted",
                                                "credit has been exhausted",
                                                "credit depleted",
                                                "credit limit",
                                                "credit balance",
                                                "exhausted your credit",
                                                "exhausted all credit",
                                                "low on credit",
                                                "add credit",
                                                "buy credit",
                                                "buy more credit",
                                                "purchase credit",
                                                "insufficient balance",
                                                "insufficient account balance",
                                                "insufficient wallet balance",
                                                "insufficient fund",
                                                "not enough balance",
                                                "not enough fund",
                                                "spend limit",
                                                "spending limit",
                                                "spend cap",
                                                "spending cap",
                                                "payment required",
                                                "billing limit",
                                                "account balance",
                                                "wallet balance",
                                                "your balance is",
                                                "team balance is",
                                                "top up your"};
constexpr absl::string_view kBalancePhrases[] = {"balance is poor",    "balance is low",
                                                 "balance is too low", "balance is empty",
                                                 "balance is zero",    "balance too low"};
constexpr absl::string_view kContentTypePhrases[] = {
    "invalid content type",     "unsupported content type", "missing content type",
    "content type is required", "content type header",      "unsupported media type"};

bool SpeaksOfCredits(const std::string& spaced) {
  if (HasPhrase(spaced, kCreditPhrases)) return true;
  // "Balance is poor." by itself is about the account; "Image balance is poor." is not.
  for (absl::string_view phrase : kBalancePhrases)
    if (absl::StartsWith(spaced, absl::StrCat(" ", phrase, " "))) return true;
  return false;
}

enum class Topic { kNone, kCredits, kContentType, kParameter };

// What a machine-readable code is about.
Topic TopicOf(const std::string& code) {
  const auto has = [&](std::initializer_list<absl::string_view> parts) {
    return std::any_of(parts.begin(), parts.end(),
                       [&](absl::string_view part) { return absl::StrContains(code, part); });
  };
  if (has({"content_type", "media_type"})) return Topic::kContentType;
  if (has({"param", "valid", "argument", "field", "missing"})) {
    return has({"credit"}) ? Topic::kCredits : Topic::kParameter;
  }
  const bool lacks = has({"insufficient", "not_enough", "no_", "exhausted", "out_of", "exceeded",
                          "limit", "low_", "depleted", "required", "poor"});
  if (lacks && has({"credit", "balance", "fund", "spend", "payment", "billing", "budget"}))
    return Topic::kCredits;
  return Topic::kNone;
}

Topic TopicOf(const ErrorBody& body) {
  if (const Topic topic = TopicOf(body.code); topic != Topic::kNone) return topic;
  const std::string spaced = Spaced(body.words);
  if (HasPhrase(spaced, kContentTypePhrases)) return Topic::kContentType;
  return SpeaksOfCredits(spaced) ? Topic::kCredits : Topic::kNone;
}

// Whether only Segmind can have given the answer. Its 405 is a page, and a 404 may be bare. A 429
// is obeyed whoever sends it.
bool IsSegminds(const CallSubject& subject, int code, const ErrorBody& body) {
  switch (body.kind) {
    case BodyKind::kError:
    case BodyKind::kJson:
      return true;
    case BodyKind::kEmpty:
      return code == 429 || code == 405 || (code == 404 && !subject.upstream_id.empty());
    case BodyKind::kPage:
    case BodyKind::kText:
    case BodyKind::kCut:
      return code == 429 || code == 405;
  }
  return false;
}

CallerError CallerErrorOf(const CallSubject& subject, int code, const ErrorBody& body) {
  const CallerError told = RowOf(code).error;
  const bool is_4xx = code >= 400 && code < 500;
  if (is_4xx && !IsSegminds(subject, code, body)) return kUnavailable;
  if (code == 404 && !subject.upstream_id.empty()) return kUnknownJob;
  if (code == 410 && subject.call == UpstreamCall::kSubmit) return kRetiredSubmit;
  if (code == 400 || code == 403 || code == 406) {
    const Topic topic = TopicOf(body);
    if (topic == Topic::kCredits) return kNoCredits;
    if (topic == Topic::kContentType && code == 406) return kMalformed;
  }
  // A list has no parameters that a caller could get wrong.
  if (told.reason == pb::ErrorReason::UPSTREAM_REJECTED && subject.call == UpstreamCall::kList)
    return kMalformed;
  return told;
}

// Error's setters change it in place: assigning their result to itself would clear it.
Error WithSubject(Error error, const CallSubject& subject) {
  std::move(error).Metadata("call", NameOf(subject.call));
  if (!subject.upstream_id.empty()) std::move(error).Metadata("upstream_id", subject.upstream_id);
  return error;
}

Error WithAnswer(Error error, const CallSubject& subject, const HttpResponse& response,
                 const Scrubber& scrubber) {
  error = WithSubject(std::move(error), subject);
  std::move(error).Metadata("http_status", std::to_string(response.code));
  std::string id(response.Header("x-request-id"));
  // Before the id is cut, or part of the key could remain.
  scrubber.Scrub(id);
  if (!id.empty())
    std::move(error).Metadata("upstream_request_id", std::string_view(id).substr(0, kMaxRequestId));
  return error;
}

std::string Described(absl::string_view what, const CallSubject& subject) {
  return absl::StrCat(what, " (", AbslView(NameOf(subject.call)),
                      subject.upstream_id.empty() ? "" : " of ", ValidUtf8(subject.upstream_id, 64),
                      ")");
}

}  // namespace

std::string_view NameOf(UpstreamCall call) {
  switch (call) {
    case UpstreamCall::kSubmit:
      return "submit";
    case UpstreamCall::kDetails:
      return "details";
    case UpstreamCall::kList:
      return "list";
    case UpstreamCall::kUploadUrl:
      return "upload_url";
    case UpstreamCall::kAccessUpdate:
      return "access_update";
    case UpstreamCall::kDownloadUrl:
      return "download_url";
    case UpstreamCall::kCredits:
      return "credits";
  }
  return "";
}

AnswerVerdict JudgeAnswer(const CallSubject& subject, const HttpResponse& response, absl::Time now,
                          const Scrubber& scrubber) {
  const ErrorBody body = ReadErrorBody(response.body, scrubber);
  const CallerError told = CallerErrorOf(subject, response.code, body);
  AnswerVerdict verdict;
  verdict.retry_after = RetryDelayIn(response, now);
  verdict.in_own_words = body.kind == BodyKind::kError;
  verdict.refused =
      verdict.in_own_words && !body.names_job && RowOf(response.code).submit == Submit::kRefused;
  std::string message = Described(absl::StrCat(told.message, ", HTTP ", response.code), subject);
  if (!body.words.empty()) absl::StrAppend(&message, ": ", body.words);
  Error error = WithAnswer(Error(told.code, told.reason, message), subject, response, scrubber);
  if (told.reason == pb::ErrorReason::UPSTREAM_RATE_LIMITED) {
    std::move(error).RetryAfter(verdict.retry_after.value_or(kRetryLimited));
  } else if (told.code == StatusCode::kUnavailable) {
    std::move(error).RetryAfter(verdict.retry_after.value_or(kRetryUnavailable));
  } else if (told.reason == pb::ErrorReason::FINE_TUNE_NOT_FOUND) {
    std::move(error).Resource("segmind.finetune.v1.FineTune", subject.upstream_id);
  }
  verdict.status = std::move(error);
  return verdict;
}

absl::Status StatusOfTransport(const CallSubject& subject, const absl::Status& transport,
                               bool caller_gave_up) {
  const std::string why(transport.message());
  switch (transport.code()) {
    case StatusCode::kCancelled:
      return WithSubject(Error(StatusCode::kCancelled, pb::ErrorReason::UPSTREAM_UNAVAILABLE,
                               Described("the gateway is stopping", subject)),
                         subject);
    case StatusCode::kDeadlineExceeded:
      if (caller_gave_up) {
        return WithSubject(
            Error(StatusCode::kDeadlineExceeded, pb::ErrorReason::UPSTREAM_UNAVAILABLE,
                  Described("Segmind did not answer in time", subject)),
            subject);
      }
      break;
    case StatusCode::kResourceExhausted:
    case StatusCode::kInvalidArgument:
      return WithSubject(
          Error(StatusCode::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED,
                absl::StrCat(Described("the exchange with Segmind failed", subject), ": ", why)),
          subject);
    default:
      break;
  }
  return WithSubject(
             Error(StatusCode::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE,
                   absl::StrCat(Described("Segmind could not be reached", subject), ": ", why)),
             subject)
      .RetryAfter(kRetryUnavailable);
}

absl::Status MalformedAnswer(const CallSubject& subject, const HttpResponse& response,
                             std::string_view why, const Scrubber& scrubber) {
  return WithAnswer(Error(StatusCode::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED,
                          absl::StrCat(Described("Segmind's answer cannot be read", subject), ": ",
                                       AbslView(why))),
                    subject, response, scrubber);
}

}  // namespace finetune
