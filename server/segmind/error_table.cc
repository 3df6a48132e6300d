#include "server/segmind/error_table.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/json/json.h"
#include "server/json/time_text.h"

namespace finetune {
namespace {

using absl::StatusCode;

constexpr size_t kMaxWords = 300;
constexpr size_t kMaxErrorBody = size_t{64} << 10;
constexpr absl::Duration kRetryUnavailable = absl::Seconds(2);
// When a 429 does not say: the limit is by the minute.
constexpr absl::Duration kRetryLimited = absl::Seconds(15);
constexpr absl::Duration kFarthestReset = absl::Hours(1);

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

bool IsHtml(std::string_view body) {
  return absl::StartsWith(absl::StripLeadingAsciiWhitespace(View(body)), "<");
}

// The credentials that may be in one word of a text: keys, tokens, what follows a URL's `?`.
std::string WithoutSecrets(absl::string_view word) {
  // Segmind's keys begin so.
  if (const size_t at = word.find("SG_"); at != absl::string_view::npos && word.size() - at >= 8)
    return absl::StrCat(word.substr(0, at), "[removed]");
  const size_t scheme = word.find("://");
  if (scheme == absl::string_view::npos) {
    // A URL without its host, or its query alone.
    const size_t query = word.find('?');
    if (query != absl::string_view::npos && absl::StrContains(word.substr(query), "="))
      return std::string(word.substr(0, query));
    const size_t signature = word.find("Signature=");
    return signature == absl::string_view::npos ? std::string(word) : "[removed]";
  }
  const size_t query = word.find_first_of("?#", scheme);
  std::string clean(word.substr(0, query));
  // user:password@host
  const size_t host = scheme + 3;
  const size_t path = std::min(clean.find('/', host), clean.size());
  if (const size_t at = clean.rfind('@', path); at != std::string::npos && at > host)
    clean.erase(host, at + 1 - host);
  return clean;
}

// One line of printable text without credentials.
std::string Clean(std::string text, const Secret& key) {
  if (!key.empty()) {
    for (size_t at; (at = text.find(key.Reveal())) != std::string::npos;)
      text.replace(at, key.Reveal().size(), "[removed]");
  }
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  std::string clean;
  bool after_bearer = false;
  for (absl::string_view word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    if (clean.size() > kMaxWords) break;
    absl::StrAppend(&clean, clean.empty() ? "" : " ",
                    after_bearer ? "[removed]" : WithoutSecrets(word));
    after_bearer = absl::EqualsIgnoreCase(word, "bearer") && word != "bearer.";
  }
  return ValidUtf8(clean, kMaxWords);
}

std::string TextIn(const JsonValue& value) {
  if (value.IsString()) return TextOf(value).value_or("");
  for (std::string_view name : {"error", "message", "detail", "error_message"}) {
    const JsonValue* member = MemberOf(value, name);
    if (member == nullptr) continue;
    if (member->IsString()) return TextOf(*member).value_or("");
    // One level down, as in {"error": {"message": "…"}}.
    for (std::string_view inner : {"message", "error", "detail"})
      if (const JsonValue* text = MemberOf(*member, inner); text != nullptr && text->IsString())
        return TextOf(*text).value_or("");
  }
  return "";
}

// One row of the table.
struct Row {
  StatusCode code;
  pb::ErrorReason::Reason reason;
  absl::string_view message;  // Before Segmind's words.
  std::optional<absl::Duration> retry_after;
};

const Row kRejected = {StatusCode::kInvalidArgument, pb::ErrorReason::UPSTREAM_REJECTED,
                       "Segmind refused the request", std::nullopt};
const Row kNoCredits = {StatusCode::kResourceExhausted, pb::ErrorReason::UPSTREAM_CREDITS_EXHAUSTED,
                        "Segmind's account has no credits left, or is at its spend limit",
                        std::nullopt};
const Row kUnavailable = {StatusCode::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE,
                          "Segmind gave no usable answer", kRetryUnavailable};
const Row kMalformed = {StatusCode::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED,
                        "Segmind does not understand the gateway", std::nullopt};

// 406 means three things.
const Row& RowOf406(const std::string& words) {
  const std::string lower = absl::AsciiStrToLower(words);
  if (absl::StrContains(lower, "content type") || absl::StrContains(lower, "content-type"))
    return kMalformed;
  for (absl::string_view word : {"credit", "spend", "insufficient", "balance", "billing"})
    if (absl::StrContains(lower, word)) return kNoCredits;
  return kRejected;
}

Row RowOf404(const CallSubject& subject, std::string_view body) {
  // A page is from something in front of the API, and says nothing about the job.
  if (IsHtml(body)) return kUnavailable;
  if (!subject.upstream_id.empty())
    return {StatusCode::kNotFound, pb::ErrorReason::FINE_TUNE_NOT_FOUND,
            "Segmind has no such fine-tune", std::nullopt};
  return subject.call == UpstreamCall::kList ? kMalformed : kRejected;
}

Row RowOf(const CallSubject& subject, const HttpResponse& response, absl::Time now,
          const std::string& words) {
  switch (response.code) {
    case 401:
    case 403:
      return {StatusCode::kInternal, pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED,
              "Segmind refused the gateway's own API key", std::nullopt};
    case 402:
      return kNoCredits;
    case 404:
      return RowOf404(subject, response.body);
    case 405:
      return kMalformed;
    case 406:
      return RowOf406(words);
    case 408:
    case 425:
      return kUnavailable;
    case 410:
      return {StatusCode::kFailedPrecondition, pb::ErrorReason::UPSTREAM_RETIRED,
              subject.call == UpstreamCall::kSubmit ? "Segmind takes no new fine-tunes"
                                                    : "Segmind has retired this call",
              std::nullopt};
    case 429: {
      const std::optional<absl::Time> reset = ResetTimeOf(response, now);
      return {StatusCode::kResourceExhausted, pb::ErrorReason::UPSTREAM_RATE_LIMITED,
              "Segmind limits the rate of calls", reset ? *reset - now : kRetryLimited};
    }
    default:
      // A list has no parameters that a caller could have got wrong.
      if (response.code >= 400 && response.code < 500)
        return subject.call == UpstreamCall::kList ? kMalformed : kRejected;
      // Redirects are off: the URL is configured, and the key goes nowhere else.
      if (response.code >= 300 && response.code < 400) return kMalformed;
      return kUnavailable;
  }
}

// Error's setters change it in place: assigning their result to itself would clear it.
Error WithSubject(Error error, const CallSubject& subject) {
  std::move(error).Metadata("call", NameOf(subject.call));
  if (!subject.upstream_id.empty()) std::move(error).Metadata("upstream_id", subject.upstream_id);
  return error;
}

Error WithAnswer(Error error, const CallSubject& subject, const HttpResponse& response) {
  error = WithSubject(std::move(error), subject);
  std::move(error).Metadata("http_status", std::to_string(response.code));
  if (const std::string_view id = response.Header("x-request-id"); !id.empty())
    std::move(error).Metadata("upstream_request_id", id.substr(0, 128));
  return error;
}

std::string Described(absl::string_view what, const CallSubject& subject) {
  return absl::StrCat(what, " (", View(NameOf(subject.call)),
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
  }
  return "";
}

absl::Status StatusOfAnswer(const CallSubject& subject, const HttpResponse& response,
                            absl::Time now, const Secret& key) {
  const std::string words = UpstreamWords(response.body, key);
  const Row row = RowOf(subject, response, now, words);
  std::string message = Described(absl::StrCat(row.message, ", HTTP ", response.code), subject);
  if (!words.empty()) absl::StrAppend(&message, ": ", words);
  Error error = WithAnswer(Error(row.code, row.reason, message), subject, response);
  if (row.retry_after) std::move(error).RetryAfter(*row.retry_after);
  if (row.reason == pb::ErrorReason::FINE_TUNE_NOT_FOUND) {
    std::move(error).Resource("segmind.finetune.v1.FineTune", subject.upstream_id);
  }
  return std::move(error);
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
                             std::string_view why) {
  return WithAnswer(
      Error(StatusCode::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED,
            absl::StrCat(Described("Segmind's answer cannot be read", subject), ": ", View(why))),
      subject, response);
}

std::optional<absl::Time> ResetTimeOf(const HttpResponse& response, absl::Time now) {
  const std::string_view header = response.Header("x-rate-limit-reset-at-utc");
  std::optional<absl::Time> reset = TimeOfText(header);
  // A small number counts from now on.
  if (reset && *reset <= absl::UnixEpoch() + kFarthestReset)
    reset = now + (*reset - absl::UnixEpoch());
  absl::Time date;
  if (!reset && absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", View(header), &date, nullptr))
    reset = date;
  int64_t seconds = 0;
  if (!reset && absl::SimpleAtoi(View(response.Header("retry-after")), &seconds) && seconds >= 0 &&
      seconds <= absl::ToInt64Seconds(kFarthestReset))
    reset = now + absl::Seconds(seconds);
  if (!reset || *reset <= now || *reset > now + kFarthestReset) return std::nullopt;
  return reset;
}

std::string UpstreamWords(std::string_view body, const Secret& key) {
  if (body.size() > kMaxErrorBody) return "";
  JsonParser parser;
  const JsonValue* value = parser.Parse(body);
  if (value == nullptr) return "";
  return Clean(TextIn(*value), key);
}

}  // namespace finetune
