#include "server/segmind/segmind_answers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/segmind/samples.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;
using Kind = SubmitOutcome::Kind;

constexpr char kApiKey[] = "SG_0123456789abcdef";

// What the exchange hands on for a 2xx answer with this body.
ExchangeResult Answered(std::string body) {
  ExchangeResult result;
  result.response = {200, {}, std::move(body)};
  result.sent = true;
  result.scrubber = std::make_shared<const Scrubber>(Secret(kApiKey));
  return result;
}

ExchangeResult Failed(bool sent, bool refused, bool no_key = false) {
  ExchangeResult result = Answered("");
  result.status = absl::UnavailableError("words");
  result.sent = sent;
  result.refused = refused;
  result.no_key = no_key;
  return result;
}

Kind OutcomeOf(const ExchangeResult& result) {
  return SubmitOutcomeOf({UpstreamCall::kSubmit}, result).kind;
}

template <typename T>
void ExpectMalformed(const absl::StatusOr<T>& answer, const std::string& about) {
  ASSERT_FALSE(answer.ok()) << about;
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kInternal) << about;
  EXPECT_EQ(ReasonOf(answer.status()), pb::ErrorReason::UPSTREAM_MALFORMED) << about;
  EXPECT_THAT(std::string(answer.status().message()), Not(HasSubstr(kApiKey)));
}

TEST(SegmindRequests, GoOutOnAConnectionOfTheirOwnOnlyToSubmit) {
  EXPECT_TRUE(SubmitRequest("http://s", {}, "n").fresh_connection);
  EXPECT_FALSE(DetailsRequest("http://s", "id").fresh_connection);
  EXPECT_FALSE(ListRequest("http://s", 1).fresh_connection);
}

TEST(SegmindRequests, QuoteWhatTheyCarry) {
  EXPECT_EQ(DetailsRequest("http://s", "a\"b").body, R"({"request_id":"a\"b"})");
  EXPECT_EQ(UploadUrlRequest("http://s", "a\"b.zip.zip", false).body,
            R"({"name":"a\"b.zip","extension":".zip","public":false})");
  EXPECT_EQ(DownloadUrlRequest("http://s", "gs://b/\xc3\xa9 &=%+").body,
            "cloud_storage_url=gs%3A%2F%2Fb%2F%C3%A9%20%26%3D%25%2B");
  EXPECT_THAT(AccessUpdateRequest("http://s", "a&b", false).form,
              ElementsAre(Pair("request_id", "a&b"), Pair("segmind_public", "False")));
}

TEST(SegmindRequests, TakeOnlyAListBeyondAMegabyte) {
  EXPECT_EQ(ListRequest("http://s", size_t{64} << 20).max_body_bytes, size_t{64} << 20);
  for (const HttpRequest& request :
       {SubmitRequest("http://s", {}, "n"), DetailsRequest("http://s", "id"),
        UploadUrlRequest("http://s", "a.zip", true), AccessUpdateRequest("http://s", "id", true),
        DownloadUrlRequest("http://s", "u")})
    EXPECT_EQ(request.max_body_bytes, size_t{1} << 20) << request.url;
}

TEST(SubmitOutcomes, AreOpenUnlessSegmindOrTheTransportSaysOtherwise) {
  EXPECT_EQ(OutcomeOf(Answered(Sample("submit.json"))), Kind::kAccepted);
  EXPECT_EQ(OutcomeOf(Failed(/*sent=*/true, /*refused=*/true)), Kind::kRefused);
  EXPECT_EQ(OutcomeOf(Failed(/*sent=*/false, /*refused=*/false)), Kind::kNotSent);
  EXPECT_EQ(OutcomeOf(Failed(/*sent=*/false, /*refused=*/false, /*no_key=*/true)), Kind::kRefused);
  EXPECT_EQ(OutcomeOf(Failed(/*sent=*/true, /*refused=*/false)), Kind::kUnknown);
}

TEST(SubmitOutcomes, AreOpenWhereA2xxNamesNoJob) {
  for (const char* body : {"", "<html>", "null", "{}", "[]", R"({"finetune_id":null})",
                           R"({"finetune_id":".."})", R"({"error":"no"})"}) {
    const SubmitOutcome outcome = SubmitOutcomeOf({UpstreamCall::kSubmit}, Answered(body));
    EXPECT_EQ(outcome.kind, Kind::kUnknown) << body;
    EXPECT_EQ(ReasonOf(outcome.status), pb::ErrorReason::UPSTREAM_MALFORMED) << body;
  }
}

TEST(SubmitOutcomes, AreOpenWhereA2xxSaysThatItWentWrong) {
  for (const char* body :
       {R"({"error":"Insufficient credits","request_id":"r-1"})",
        R"({"errors":[{"msg":"no"}],"id":"r-1"})", R"({"id":7,"error":{"message":"no"}})",
        R"({"success":false,"message":"no","request_id":"r-1"})",
        R"({"status":"error","message":"no","request_id":"r-1"})",
        R"({"status":"FAILED","detail":"no","id":"r-1","finetune_id":null})"}) {
    const SubmitOutcome outcome = SubmitOutcomeOf({UpstreamCall::kSubmit}, Answered(body));
    EXPECT_EQ(outcome.kind, Kind::kUnknown) << body;
    EXPECT_EQ(ReasonOf(outcome.status), pb::ErrorReason::UPSTREAM_MALFORMED) << body;
  }
  EXPECT_THAT(std::string(SubmitOutcomeOf({UpstreamCall::kSubmit},
                                          Answered(R"({"error":"Insufficient credits","id":"r"})"))
                              .status.message()),
              HasSubstr("Insufficient credits"));
}

TEST(SubmitOutcomes, AreAJobWhereA2xxNamesOneWhateverElseItSays) {
  for (const char* body :
       {R"({"error":"the queue is long","finetune_id":"f"})", R"({"error":null,"id":"f"})",
        R"({"error":"","errors":[],"error_message":{},"id":"f"})",
        R"({"success":true,"message":"submitted","request_id":"f"})",
        R"({"status":"failed","finetune":{"id":"f"}})"}) {
    const SubmitOutcome outcome = SubmitOutcomeOf({UpstreamCall::kSubmit}, Answered(body));
    EXPECT_EQ(outcome.kind, Kind::kAccepted) << body;
    EXPECT_EQ(outcome.job.id, "f") << body;
  }
}

TEST(SubmitOutcomes, TellOfNoJobThatItHasEndedWellAtOnce) {
  for (const char* word : {"success", "SUCCEEDED", "done", "Completed", "ready"}) {
    const SubmitOutcome outcome =
        SubmitOutcomeOf({UpstreamCall::kSubmit},
                        Answered(std::string(R"({"finetune_id":"f","status":")") + word + "\"}"));
    EXPECT_EQ(outcome.kind, Kind::kAccepted) << word;
    EXPECT_EQ(outcome.job.status, "") << word;
  }
  EXPECT_EQ(SubmitOutcomeOf({UpstreamCall::kSubmit},
                            Answered(R"({"finetune_id":"f","status":"REQUESTED"})"))
                .job.status,
            "REQUESTED");
}

TEST(Details, AreBelievedAboutTheJobThatWasAskedForAlone) {
  const CallSubject subject{UpstreamCall::kDetails, "uuid"};
  const auto read = ReadDetails(subject, Answered(Sample("details.json")));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->from_details);
  EXPECT_TRUE(ReadDetails(subject, Answered(R"({"finetune_id":"f","id":"UUID"})")).ok());
  for (const char* body : {"", "<html>", "{}", R"({"finetune":{}})", R"({"id":"uuid2"})"})
    ExpectMalformed(ReadDetails(subject, Answered(body)), body);
}

TEST(UploadUrls, NeedAUrlThatLeadsSomewhere) {
  const CallSubject subject{UpstreamCall::kUploadUrl};
  const auto plain =
      ReadUploadUrl(subject, Answered(R"({"presigned_url":"https://b/f?sig=x&n=1"})"));
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ(plain->presigned_url.Reveal(), "https://b/f?sig=x&n=1");
  EXPECT_EQ(plain->s3_url, "https://b/f?n=1");
  const std::string too_long = "https://b/" + std::string(16 << 10, 'x');
  for (const std::string& body :
       {std::string("null"), std::string(R"({"s3_url":"https://b/f"})"),
        std::string(R"({"presigned_url":{"url":"https://b/f"}})"),
        std::string(R"({"presigned_url":"file:///etc/passwd"})"),
        "{\"presigned_url\":\"" + too_long + "\"}",
        std::string(R"({"presigned_url":"https://b/f?k=)") + kApiKey + "\"}"})
    ExpectMalformed(ReadUploadUrl(subject, Answered(body)), body.substr(0, 80));
}

TEST(DownloadUrls, AreTakenBareOrInJson) {
  const CallSubject subject{UpstreamCall::kDownloadUrl};
  for (const char* body : {" https://b/w?sig=x\n", R"("https://b/w?sig=x")",
                           R"({"n":1,"signed":"https://b/w?sig=x"})"}) {
    const auto url = ReadDownloadUrl(subject, Answered(body));
    ASSERT_TRUE(url.ok()) << body << url.status();
    EXPECT_EQ(url->Reveal(), "https://b/w?sig=x");
  }
  for (const std::string& body :
       {std::string(), std::string("not found"), std::string("{}"), std::string("[\"https://b\"]"),
        std::string("gs://b/w"), std::string("https://b/") + kApiKey,
        std::string("<a href=\"https://b/w\">")})
    ExpectMalformed(ReadDownloadUrl(subject, Answered(body)), body);
}

}  // namespace
}  // namespace finetune
