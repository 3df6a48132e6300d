#include "server/segmind/segmind_answers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/log.h"
#include "server/base/micros.h"
#include "server/base/url.h"
#include "server/base/url_signature.h"
#include "server/segmind/error_words.h"
#include "server/segmind/json_job.h"

namespace finetune {
namespace {

// For every answer except a list.
constexpr size_t kMaxAnswer = size_t{1} << 20;
constexpr size_t kMaxUrl = size_t{16} << 10;

HttpRequest JsonRequest(const char* method, std::string url, std::string body) {
  HttpRequest request;
  request.method = method;
  request.url = std::move(url);
  request.headers = {{"Accept", "application/json"}, {"Cache-Control", "no-cache"}};
  if (!body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  request.body = std::move(body);
  request.max_body_bytes = kMaxAnswer;
  return request;
}

// As application/x-www-form-urlencoded.
std::string FormEncoded(const std::string& text) {
  std::string encoded;
  for (const char c : text) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.' ||
        c == '~') {
      encoded += c;
    } else {
      constexpr char kHex[] = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(c);
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return encoded;
}

// Whether it is a URL once it is written correctly.
bool IsUrl(std::string_view text) { return text.size() <= kMaxUrl && Url::ParseAnswer(text).ok(); }

// The URL that `value` is or that one of its members is; empty if there is none.
std::string UrlIn(const JsonValue& value) {
  if (value.IsString()) return IsUrl(RawText(value)) ? std::string(RawText(value)) : std::string();
  if (!value.IsObject()) return "";
  for (const auto& member : value.GetObject())
    if (member.value.IsString() && IsUrl(RawText(member.value)))
      return std::string(RawText(member.value));
  return "";
}

std::string UrlMember(const JsonValue& object, std::string_view name) {
  const JsonValue* member = MemberOf(object, name);
  return member != nullptr && member->IsString() ? UrlIn(*member) : "";
}

bool SameId(const std::string& a, const std::string& b) { return absl::EqualsIgnoreCase(a, b); }

absl::Status Malformed(const CallSubject& subject, const ExchangeResult& result,
                       std::string_view why) {
  return MalformedAnswer(subject, result.response, why, *result.scrubber);
}

// Whether an answer says that the call failed. A job that it names by `finetune_id` was made all
// the same; its other ids may be the call's own.
bool Complains(const JsonValue& answer, const ErrorBody& body) {
  if (body.names_job || !answer.IsObject()) return false;
  return std::any_of(answer.MemberBegin(), answer.MemberEnd(), [](const auto& member) {
    return IsComplaint(RawText(member.name), member.value);
  });
}

}  // namespace

HttpRequest SubmitRequest(const std::string& url, const pb::FineTune& fine_tune,
                          const std::string& upstream_name) {
  HttpRequest request = JsonRequest("POST", absl::StrCat(url, "/finetune/request/submit"),
                                    SubmitBody(fine_tune, upstream_name));
  request.fresh_connection = true;
  return request;
}

HttpRequest DetailsRequest(const std::string& url, const std::string& upstream_id) {
  return JsonRequest("GET", absl::StrCat(url, "/finetune/request/details"),
                     absl::StrCat("{\"request_id\":", JsonString(upstream_id), "}"));
}

HttpRequest ListRequest(const std::string& url, size_t max_bytes) {
  HttpRequest request = JsonRequest("GET", absl::StrCat(url, "/finetune/request/list"), "");
  request.max_body_bytes = max_bytes;
  return request;
}

HttpRequest UploadUrlRequest(const std::string& url, const std::string& file_name, bool is_public) {
  absl::string_view stem = file_name;
  if (absl::EndsWithIgnoreCase(stem, ".zip")) stem.remove_suffix(4);
  return JsonRequest(
      "GET", absl::StrCat(url, "/finetune/request/upload/pre-signed-url"),
      absl::StrCat("{\"name\":", JsonString({stem.data(), stem.size()}),
                   ",\"extension\":\".zip\",\"public\":", is_public ? "true" : "false", "}"));
}

HttpRequest AccessUpdateRequest(const std::string& url, const std::string& upstream_id,
                                bool is_public) {
  HttpRequest request =
      JsonRequest("PUT", absl::StrCat(url, "/finetune/request/access-update"), "");
  request.form = {{"request_id", upstream_id}, {"segmind_public", is_public ? "True" : "False"}};
  return request;
}

HttpRequest CreditsRequest(const std::string& url) {
  return JsonRequest("GET", absl::StrCat(url, "/v1/get-user-credits"), "");
}

HttpRequest DownloadUrlRequest(const std::string& url, const std::string& cloud_storage_url) {
  HttpRequest request =
      JsonRequest("GET", absl::StrCat(url, "/finetune/request/file/download"), "");
  request.headers = {{"Accept", "text/plain, application/json"},
                     {"Cache-Control", "no-cache"},
                     {"Content-Type", "application/x-www-form-urlencoded"}};
  request.body = absl::StrCat("cloud_storage_url=", FormEncoded(cloud_storage_url));
  return request;
}

SubmitOutcome SubmitOutcomeOf(const CallSubject& subject, const ExchangeResult& result) {
  using Kind = SubmitOutcome::Kind;
  SubmitOutcome outcome{.kind = Kind::kUnknown, .job = {}, .status = result.status};
  if (result.status.ok()) {
    JsonParser parser;
    const JsonValue* answer = parser.Parse(result.response.body);
    std::optional<UpstreamJob> job = answer ? JobInAnswer(*answer, *result.scrubber) : std::nullopt;
    if (!job) {
      outcome.status = Malformed(subject, result, "it has no finetune_id");
      return outcome;
    }
    const ErrorBody body = ReadErrorBody(result.response.body, *result.scrubber);
    if (Complains(*answer, body)) {
      outcome.status = Malformed(subject, result, absl::StrCat("it is an error: ", body.words));
      return outcome;
    }
    outcome.kind = Kind::kAccepted;
    outcome.job = *std::move(job);
    // The word means that the call succeeded: a job that was just made cannot have ended.
    if (StateOf(outcome.job.status) == pb::FineTune::AVAILABLE) outcome.job.status.clear();
    return outcome;
  }
  if (result.no_key) {
    outcome.kind = Kind::kRefused;
    return outcome;
  }
  if (!result.sent) {
    outcome.kind = Kind::kNotSent;
    return outcome;
  }
  if (result.refused) outcome.kind = Kind::kRefused;
  return outcome;
}

absl::StatusOr<UpstreamJob> ReadDetails(const CallSubject& subject, const ExchangeResult& result) {
  JsonParser parser;
  const JsonValue* answer = parser.Parse(result.response.body);
  if (answer == nullptr) return Malformed(subject, result, "it is not JSON");
  std::optional<UpstreamJob> job = JobInAnswer(*answer, *result.scrubber);
  if (!job) return Malformed(subject, result, "it has no job with an id");
  if (!SameId(job->id, subject.upstream_id) && !SameId(job->request_id, subject.upstream_id))
    return Malformed(subject, result, "it is about another job");
  job->from_details = true;
  return *std::move(job);
}

absl::StatusOr<UploadUrlAnswer> ReadUploadUrl(const CallSubject& subject,
                                              const ExchangeResult& result) {
  JsonParser parser;
  const JsonValue* answer = parser.Parse(result.response.body);
  if (answer == nullptr) return Malformed(subject, result, "it is not JSON");
  std::string presigned = UrlMember(*answer, "presigned_url");
  std::string plain = UrlMember(*answer, "s3_url");
  if (presigned.empty()) return Malformed(subject, result, "it has no presigned_url");
  if (result.scrubber->Finds(presigned) || result.scrubber->Finds(plain))
    return Malformed(subject, result, "it repeats the API key");
  if (plain.empty()) plain = WithoutSignatures(presigned);
  return UploadUrlAnswer{Secret(std::move(presigned)), std::move(plain)};
}

absl::StatusOr<int64_t> ReadCredits(const CallSubject& subject, const ExchangeResult& result) {
  JsonParser parser;
  const JsonValue* answer = parser.Parse(result.response.body);
  if (answer == nullptr) return Malformed(subject, result, "it is not JSON");
  std::optional<int64_t> sum;
  for (const char* name : {"credits", "free-credits"}) {
    const JsonValue* member = MemberOf(*answer, name);
    if (member == nullptr || member->IsNull()) continue;
    const std::optional<double> amount = DoubleOf(*member);
    const std::optional<int64_t> micros = amount ? MicrosOf(*amount) : std::nullopt;
    if (!micros) return Malformed(subject, result, "its credits are no amount");
    sum = sum.value_or(0) + *micros;
  }
  if (!sum) return Malformed(subject, result, "it has no credits");
  return *sum;
}

absl::StatusOr<Secret> ReadDownloadUrl(const CallSubject& subject, const ExchangeResult& result) {
  const absl::string_view text = absl::StripAsciiWhitespace(result.response.body);
  if (result.scrubber->Finds({text.data(), text.size()}))
    return Malformed(subject, result, "it repeats the API key");
  if (IsUrl({text.data(), text.size()})) return Secret(std::string(text));
  JsonParser parser;
  const JsonValue* answer = parser.Parse({text.data(), text.size()});
  std::string url = answer == nullptr ? "" : UrlIn(*answer);
  if (url.empty()) return Malformed(subject, result, "it is no URL");
  return Secret(std::move(url));
}

}  // namespace finetune
