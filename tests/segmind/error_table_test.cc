#include "server/segmind/error_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

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

std::string BodyOf(const std::string& words) { return "{\"error\": \"" + words + "\"}"; }

std::string Message(const absl::Status& status) { return std::string(status.message()); }

using C = absl::StatusCode;
using R = pb::ErrorReason;
using U = UpstreamCall;

const std::string kHtml = "<html><body>Not here</body></html>";

struct Row {
  UpstreamCall call;
  int http;
  std::string body;
  absl::StatusCode code;
  pb::ErrorReason::Reason reason;
  bool retry = false;
};

AnswerVerdict Judge(UpstreamCall call, const HttpResponse& response,
                    const Secret& key = Secret("key")) {
  const bool has_job = call == U::kDetails || call == U::kAccessUpdate;
  return JudgeAnswer({call, has_job ? "job-1" : ""}, response, kNow, Scrubber(key));
}

TEST(ErrorTable, HasARowForEveryKindOfAnswer) {
  const std::vector<Row> rows = {
      {U::kSubmit, 400, BodyOf("name is required"), C::kInvalidArgument, R::UPSTREAM_REJECTED},
      {U::kSubmit, 401, BodyOf("Unauthorized. API key is invalid"), C::kInternal,
       R::UPSTREAM_CREDENTIAL_REJECTED},
      {U::kList, 403, BodyOf("no"), C::kInternal, R::UPSTREAM_CREDENTIAL_REJECTED},
      {U::kSubmit, 402, BodyOf("pay"), C::kResourceExhausted, R::UPSTREAM_CREDITS_EXHAUSTED},
      {U::kDetails, 404, BodyOf("not found"), C::kNotFound, R::FINE_TUNE_NOT_FOUND},
      {U::kDetails, 404, "", C::kNotFound, R::FINE_TUNE_NOT_FOUND},
      {U::kAccessUpdate, 404, BodyOf("not found"), C::kNotFound, R::FINE_TUNE_NOT_FOUND},
      {U::kSubmit, 404, BodyOf("no"), C::kInvalidArgument, R::UPSTREAM_REJECTED},
      {U::kList, 404, BodyOf("no"), C::kInternal, R::UPSTREAM_MALFORMED},
      {U::kDetails, 405, kHtml, C::kInternal, R::UPSTREAM_MALFORMED},
      {U::kSubmit, 406, BodyOf("steps must be below 6000"), C::kInvalidArgument,
       R::UPSTREAM_REJECTED},
      {U::kSubmit, 410, BodyOf("gone"), C::kFailedPrecondition, R::UPSTREAM_RETIRED},
      {U::kList, 429, BodyOf("slow down"), C::kResourceExhausted, R::UPSTREAM_RATE_LIMITED, true},
      {U::kList, 429, kHtml, C::kResourceExhausted, R::UPSTREAM_RATE_LIMITED, true},
      {U::kSubmit, 413, BodyOf("no"), C::kInvalidArgument, R::UPSTREAM_REJECTED},
      {U::kSubmit, 415, BodyOf("no"), C::kInternal, R::UPSTREAM_MALFORMED},
      {U::kSubmit, 422, BodyOf("no"), C::kInvalidArgument, R::UPSTREAM_REJECTED},
      {U::kList, 400, BodyOf("no"), C::kInternal, R::UPSTREAM_MALFORMED},
      {U::kList, 408, "", C::kUnavailable, R::UPSTREAM_UNAVAILABLE, true},
      {U::kList, 500, BodyOf("oops"), C::kUnavailable, R::UPSTREAM_UNAVAILABLE, true},
      {U::kList, 502, kHtml, C::kUnavailable, R::UPSTREAM_UNAVAILABLE, true},
      {U::kList, 504, "", C::kUnavailable, R::UPSTREAM_UNAVAILABLE, true},
      {U::kList, 302, kHtml, C::kInternal, R::UPSTREAM_MALFORMED},
      {U::kList, 999, "", C::kUnavailable, R::UPSTREAM_UNAVAILABLE, true},
  };
  for (const Row& row : rows) {
    const absl::Status status = Judge(row.call, Answer(row.http, row.body)).status;
    EXPECT_EQ(status.code(), row.code) << row.http << " " << row.body;
    EXPECT_EQ(ReasonOf(status), row.reason) << row.http << " " << row.body;
    EXPECT_EQ(RetryDelayOf(status).has_value(), row.retry) << row.http << " " << row.body;
    EXPECT_THAT(Message(status), HasSubstr(std::string(NameOf(row.call))));
    EXPECT_THAT(Message(status), HasSubstr(std::to_string(row.http)));
    EXPECT_THAT(Message(status), Not(HasSubstr("<html>")));
  }
}

TEST(ErrorTable, TakesAPageForNobodysWord) {
  for (UpstreamCall call : kUpstreamCalls) {
    for (int code : {400, 401, 402, 403, 404, 406, 409, 410, 422, 451}) {
      for (const std::string& body :
           {kHtml, std::string("404 page not found"), std::string("{\"error\":\"cut")}) {
        const AnswerVerdict verdict = Judge(call, Answer(code, body));
        EXPECT_EQ(ReasonOf(verdict.status), R::UPSTREAM_UNAVAILABLE) << code << body;
        EXPECT_FALSE(verdict.refused) << code << body;
      }
    }
  }
}

TEST(ErrorTable, LetsOnlySegmindsOwnJsonRefuseASubmit) {
  constexpr int kDefinite[] = {400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 412, 413,
                               414, 415, 417, 421, 422, 423, 426, 428, 429, 431, 451};
  for (int code = 100; code < 600; ++code) {
    const bool definite =
        std::find(std::begin(kDefinite), std::end(kDefinite), code) != std::end(kDefinite);
    for (const char* body :
         {R"({"error":"no"})", R"({"error":{"message":"no"}})", R"({"detail":[{"msg":"no"}]})",
          R"({"message":"no","request_id":"trace-1"})", R"({"errors":{"steps":["no"]}})"}) {
      const AnswerVerdict verdict = Judge(U::kSubmit, Answer(code, body));
      EXPECT_EQ(verdict.refused, definite) << code << body;
      EXPECT_THAT(Message(verdict.status), HasSubstr("no")) << code << body;
    }
    for (const char* body :
         {"", " ", "<html>no</html>", "no", "null", "{}", "[]", "200", "\"no\"",
          "[{\"error\":\"no\"}]", R"({"error":"n)", R"({"status":"REQUESTED"})",
          R"({"error":"no","finetune_id":"a"})", R"({"message":"taken","finetune":{"id":"a"}})"})
      EXPECT_FALSE(Judge(U::kSubmit, Answer(code, body)).refused) << code << body;
  }
}

TEST(ErrorTable, TellsTheMeaningsOf406Apart) {
  const auto reason = [](const std::string& body) {
    return ReasonOf(Judge(U::kSubmit, Answer(406, body)).status);
  };
  for (const char* words :
       {"Insufficient credits", "You have insufficient credits.", "Credits exhausted",
        "Your credits have been exhausted", "Not enough credits to run", "Team spend limit reached",
        "Spending limit exceeded", "Balance is poor", "Your balance is too low",
        "Account balance is poor", "Insufficient balance", "Insufficient funds", "Out of credit!",
        "You have no credits left", "Payment required"})
    EXPECT_EQ(reason(BodyOf(words)), R::UPSTREAM_CREDITS_EXHAUSTED) << words;
  for (const char* words :
       {"Image balance is poor", "White balance is poor", "insufficient images", "class balance",
        "steps must be below 6000", "credit the photographer", "billing", "spend", "balance",
        "data_source_path has content type text/html"})
    EXPECT_EQ(reason(BodyOf(words)), R::UPSTREAM_REJECTED) << words;
  for (const char* words : {"Invalid content type", "Unsupported Content-Type: text/plain"})
    EXPECT_EQ(reason(BodyOf(words)), R::UPSTREAM_MALFORMED) << words;
  // A word for machines goes before the words.
  EXPECT_EQ(reason(R"({"error":"no","code":"INSUFFICIENT_CREDITS"})"),
            R::UPSTREAM_CREDITS_EXHAUSTED);
  EXPECT_EQ(reason(R"({"error":{"message":"no","type":"spend-limit-reached"}})"),
            R::UPSTREAM_CREDITS_EXHAUSTED);
  EXPECT_EQ(reason(R"({"error":"insufficient credits of the author","code":"invalid_parameter"})"),
            R::UPSTREAM_REJECTED);
  EXPECT_EQ(reason(R"({"error":"no","code":"invalid_content_type"})"), R::UPSTREAM_MALFORMED);
  EXPECT_EQ(reason(R"({"error":"insufficient credits","code":"not_acceptable"})"),
            R::UPSTREAM_CREDITS_EXHAUSTED);
  for (const char* words : {"Insufficient credits", "Image balance is poor"})
    EXPECT_THAT(Message(Judge(U::kSubmit, Answer(406, BodyOf(words))).status), HasSubstr(words));
  // Credits are not the key's fault.
  EXPECT_EQ(ReasonOf(Judge(U::kSubmit, Answer(403, BodyOf("Insufficient credits"))).status),
            R::UPSTREAM_CREDITS_EXHAUSTED);
}

TEST(ErrorTable, NamesCallCodeAndSegmindsRequest) {
  const absl::Status status =
      Judge(U::kDetails, Answer(500, "", {{"x-request-id", "req-7-the-key"}}), Secret("the-key"))
          .status;
  rpc::ErrorInfo info;
  ASSERT_TRUE(info.ParseFromString(
      std::string(*status.GetPayload("type.googleapis.com/google.rpc.ErrorInfo"))));
  EXPECT_EQ(info.metadata().at("call"), "details");
  EXPECT_EQ(info.metadata().at("upstream_id"), "job-1");
  EXPECT_EQ(info.metadata().at("http_status"), "500");
  EXPECT_EQ(info.metadata().at("upstream_request_id"), "req-7-[removed]");
}

TEST(ErrorTable, PassesOnHowLongToWait) {
  for (int code : {429, 503, 502, 403}) {
    const AnswerVerdict verdict = Judge(U::kList, Answer(code, kHtml, {{"retry-after", "7200"}}));
    EXPECT_EQ(RetryDelayOf(verdict.status), absl::Hours(2)) << code;
    EXPECT_EQ(verdict.retry_after, absl::Hours(2)) << code;
  }
  EXPECT_EQ(RetryDelayOf(Judge(U::kList, Answer(429, "")).status), absl::Seconds(15));
  EXPECT_EQ(RetryDelayOf(Judge(U::kList, Answer(503, "")).status), absl::Seconds(2));
  EXPECT_EQ(Judge(U::kList, Answer(503, "")).retry_after, std::nullopt);
}

TEST(ErrorTable, ShowsNoSecret) {
  const std::string message = Message(
      Judge(U::kSubmit, Answer(400, BodyOf("key the-key-0123456789 and dGhlLWtleS0wMTIzNDU2Nzg5")),
            Secret("the-key-0123456789"))
          .status);
  EXPECT_THAT(message, HasSubstr("[removed] and [removed]"));
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
