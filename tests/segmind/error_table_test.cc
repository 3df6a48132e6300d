#include "server/segmind/error_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/error_details.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const absl::Time kNow = absl::FromUnixSeconds(1'735'689'600);

HttpResponse Answer(int code, std::string body,
                    std::vector<std::pair<std::string, std::string>> headers = {}) {
  return {code, std::move(headers), std::move(body)};
}

std::string ErrorBody(const std::string& words) { return "{\"error\": \"" + words + "\"}"; }

std::string Message(const absl::Status& status) { return std::string(status.message()); }

struct Row {
  UpstreamCall call;
  int http;
  std::string body;
  absl::StatusCode code;
  pb::ErrorReason::Reason reason;
  bool retry = false;
};

TEST(ErrorTable, HasARowForEveryKindOfAnswer) {
  using C = absl::StatusCode;
  using U = UpstreamCall;
  const std::string html = "<html><body>Not here</body></html>";
  const std::vector<Row> rows = {
      {U::kSubmit, 400, ErrorBody("name is required"), C::kInvalidArgument,
       pb::ErrorReason::UPSTREAM_REJECTED},
      {U::kSubmit, 401, ErrorBody("Unauthorized. API key is invalid"), C::kInternal,
       pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED},
      {U::kList, 403, ErrorBody("no"), C::kInternal, pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED},
      {U::kSubmit, 402, "", C::kResourceExhausted, pb::ErrorReason::UPSTREAM_CREDITS_EXHAUSTED},
      {U::kDetails, 404, ErrorBody("not found"), C::kNotFound,
       pb::ErrorReason::FINE_TUNE_NOT_FOUND},
      {U::kDetails, 404, "", C::kNotFound, pb::ErrorReason::FINE_TUNE_NOT_FOUND},
      {U::kAccessUpdate, 404, ErrorBody("not found"), C::kNotFound,
       pb::ErrorReason::FINE_TUNE_NOT_FOUND},
      {U::kDetails, 404, html, C::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE, true},
      {U::kSubmit, 404, ErrorBody("no"), C::kInvalidArgument, pb::ErrorReason::UPSTREAM_REJECTED},
      {U::kList, 404, ErrorBody("no"), C::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED},
      {U::kDetails, 405, html, C::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED},
      {U::kSubmit, 406, ErrorBody("Invalid content type"), C::kInternal,
       pb::ErrorReason::UPSTREAM_MALFORMED},
      {U::kSubmit, 406, ErrorBody("You have insufficient credits"), C::kResourceExhausted,
       pb::ErrorReason::UPSTREAM_CREDITS_EXHAUSTED},
      {U::kSubmit, 406, ErrorBody("Team spend limit reached"), C::kResourceExhausted,
       pb::ErrorReason::UPSTREAM_CREDITS_EXHAUSTED},
      {U::kSubmit, 406, ErrorBody("steps must be below 6000"), C::kInvalidArgument,
       pb::ErrorReason::UPSTREAM_REJECTED},
      {U::kSubmit, 406, html, C::kInvalidArgument, pb::ErrorReason::UPSTREAM_REJECTED},
      {U::kSubmit, 410, ErrorBody("gone"), C::kFailedPrecondition,
       pb::ErrorReason::UPSTREAM_RETIRED},
      {U::kList, 429, ErrorBody("slow down"), C::kResourceExhausted,
       pb::ErrorReason::UPSTREAM_RATE_LIMITED, true},
      {U::kSubmit, 422, ErrorBody("no"), C::kInvalidArgument, pb::ErrorReason::UPSTREAM_REJECTED},
      {U::kList, 400, ErrorBody("no"), C::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED},
      {U::kList, 408, "", C::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE, true},
      {U::kList, 500, ErrorBody("oops"), C::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE,
       true},
      {U::kList, 502, html, C::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE, true},
      {U::kList, 504, "", C::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE, true},
      {U::kList, 302, html, C::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED},
      {U::kList, 999, "", C::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE, true},
  };
  for (const Row& row : rows) {
    const bool has_job = row.call == U::kDetails || row.call == U::kAccessUpdate;
    const CallSubject subject{row.call, has_job ? "job-1" : ""};
    const absl::Status status =
        StatusOfAnswer(subject, Answer(row.http, row.body), kNow, Secret("key"));
    EXPECT_EQ(status.code(), row.code) << row.http << " " << row.body;
    EXPECT_EQ(ReasonOf(status), row.reason) << row.http << " " << row.body;
    EXPECT_EQ(RetryDelayOf(status).has_value(), row.retry) << row.http << " " << row.body;
    EXPECT_THAT(Message(status), HasSubstr(std::string(NameOf(row.call))));
    EXPECT_THAT(Message(status), HasSubstr(std::to_string(row.http)));
    EXPECT_THAT(Message(status), Not(HasSubstr("<html>")));
  }
}

TEST(ErrorTable, NamesCallCodeAndSegmindsRequest) {
  const absl::Status status =
      StatusOfAnswer({UpstreamCall::kDetails, "job-1"},
                     Answer(500, "", {{"x-request-id", "req-7"}}), kNow, Secret());
  rpc::ErrorInfo info;
  ASSERT_TRUE(info.ParseFromString(
      std::string(*status.GetPayload("type.googleapis.com/google.rpc.ErrorInfo"))));
  EXPECT_EQ(info.metadata().at("call"), "details");
  EXPECT_EQ(info.metadata().at("upstream_id"), "job-1");
  EXPECT_EQ(info.metadata().at("http_status"), "500");
  EXPECT_EQ(info.metadata().at("upstream_request_id"), "req-7");
}

TEST(ErrorTable, TakesTheRetryDelayFromTheReset) {
  const auto delay = [](const std::string& name, const std::string& value) {
    return RetryDelayOf(StatusOfAnswer({UpstreamCall::kList, ""}, Answer(429, "", {{name, value}}),
                                       kNow, Secret()));
  };
  const std::string header = "x-rate-limit-reset-at-utc";
  for (const char* value :
       {"2025-01-01T00:00:30Z", "2025-01-01T00:00:30.000000", "1735689630", "1735689630000",
        "2025-01-01 00:00:30", "Wed, 01 Jan 2025 00:00:30 GMT", "30", "30.0"})
    EXPECT_EQ(delay(header, value), absl::Seconds(30)) << value;
  EXPECT_EQ(delay("retry-after", "7"), absl::Seconds(7));
  // A time that is over says nothing: Segmind refuses calls now.
  for (const char* value : {"", "soon", "-5", "0", "2024-12-31T00:00:00Z", "2099-01-01T00:00:00Z",
                            "99999999999999999999"})
    EXPECT_EQ(delay(header, value), absl::Seconds(15)) << value;
}

TEST(ErrorTable, ShowsNoSecret) {
  const Secret key("the-key-0123456789");
  const std::string body = ErrorBody(
      "key the-key-0123456789 for https://u:pw@s3.amazonaws.com/f.zip?X-Amz-Signature=abc and "
      "SG_0123456789abcdef, /f.zip?Signature=abc or X-Amz-Date=1&X-Amz-Signature=abc, Bearer "
      "eyJhbGciOi");
  const std::string message =
      Message(StatusOfAnswer({UpstreamCall::kSubmit, ""}, Answer(400, body), kNow, key));
  EXPECT_THAT(message, HasSubstr("s3.amazonaws.com/f.zip"));
  for (const char* secret : {"the-key", "Signature", "SG_", "eyJ", "pw"})
    EXPECT_THAT(message, Not(HasSubstr(secret)));
}

TEST(ErrorTable, QuotesWordsInOneShortLine) {
  EXPECT_EQ(UpstreamWords(R"({"error":"a\nb\u0000  c\t"})", Secret()), "a b c");
  EXPECT_EQ(UpstreamWords(R"({"error":{"message":"inner"}})", Secret()), "inner");
  EXPECT_EQ(UpstreamWords(R"({"detail":"words"})", Secret()), "words");
  EXPECT_EQ(UpstreamWords(R"("text")", Secret()), "text");
  EXPECT_EQ(UpstreamWords("<html>", Secret()), "");
  EXPECT_EQ(UpstreamWords("{\"error\":3}", Secret()), "");
  EXPECT_LE(UpstreamWords(ErrorBody(std::string(5000, 'x')), Secret()).size(), 300);
  EXPECT_EQ(UpstreamWords("{\"error\":\"\xff\"}", Secret()), "\xef\xbf\xbd");
}

TEST(ErrorTable, TellsTheTransportsFailuresApart) {
  const CallSubject subject{UpstreamCall::kList, ""};
  const auto of = [&](absl::Status transport, bool gave_up) {
    return StatusOfTransport(subject, transport, gave_up);
  };
  absl::Status status = of(absl::UnavailableError("no connection"), false);
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::UPSTREAM_UNAVAILABLE);
  EXPECT_TRUE(RetryDelayOf(status).has_value());
  EXPECT_TRUE(absl::IsUnavailable(of(absl::DeadlineExceededError("late"), false)));
  EXPECT_TRUE(absl::IsDeadlineExceeded(of(absl::DeadlineExceededError("late"), true)));
  EXPECT_TRUE(absl::IsUnavailable(of(absl::DataLossError("cut"), false)));
  EXPECT_TRUE(absl::IsCancelled(of(absl::CancelledError("stop"), false)));
  status = of(absl::ResourceExhaustedError("too long"), false);
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::UPSTREAM_MALFORMED);
}

}  // namespace
}  // namespace finetune
