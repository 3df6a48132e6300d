#include "server/segmind/segmind_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "google/protobuf/text_format.h"
#include "prometheus/text_serializer.h"
#include "server/segmind/list_reader.h"
#include "tests/base/manual_clock.h"
#include "tests/base/span_collector.h"
#include "tests/http/fake_http_client.h"
#include "tests/segmind/samples.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Kind = SubmitOutcome::Kind;

// A job whose id is not the sample's "uuid" would be refused.
constexpr char kId[] = "uuid";

class Client : public ::testing::Test {
 protected:
  Client() { Make({.url = "http://segmind.test/", .calls_per_minute = 50}); }
  void Make(SegmindClient::Options options) {
    client_ = nullptr;
    client_ = std::make_unique<SegmindClient>(options, http_, keys_, clock_, metrics_);
  }

  absl::Time In(absl::Duration time) { return clock_.Now() + time; }

  // Each call's answer; nullopt while it is open.
  std::optional<absl::StatusOr<DetailsAnswer>> Details(absl::Duration patience = absl::Minutes(1)) {
    auto answer = std::make_shared<std::optional<absl::StatusOr<DetailsAnswer>>>();
    client_->GetDetails(kId, In(patience), [answer](auto result) { *answer = std::move(result); });
    return *answer;
  }
  void GetList(absl::Duration patience) {
    list_.reset();
    client_->GetList(In(patience), [this](auto result) { list_ = std::move(result); });
  }
  void Submit(absl::Duration patience = absl::Minutes(1)) {
    submitted_.reset();
    client_->Submit(fine_tune_, "name", In(patience),
                    [this](SubmitOutcome outcome) { submitted_ = std::move(outcome); });
  }
  std::string Scrape() {
    return prometheus::TextSerializer().Serialize(metrics_.registry()->Collect());
  }

  ManualClock clock_;
  FakeHttpClient http_;
  FakeKeySource keys_{{"key-1", "key-2"}};
  Metrics metrics_;
  pb::FineTune fine_tune_;
  std::optional<absl::StatusOr<ListAnswer>> list_;
  std::optional<SubmitOutcome> submitted_;
  std::unique_ptr<SegmindClient> client_;
};

TEST_F(Client, ReadsTheCreditsOfTheAccountAndTakesNothingElseForThem) {
  const auto read = [this](const std::string& body) {
    http_.Script(200, body);
    std::optional<absl::StatusOr<int64_t>> told;
    client_->GetCredits(In(absl::Minutes(1)), [&](auto result) { told = std::move(result); });
    return *told;
  };
  const auto left = [this] { return client_->credits().At(clock_.Now())->micros; };
  EXPECT_EQ(read(R"({"credits": 12.5, "free-credits": 1})").value(), 13'500'000);
  EXPECT_EQ(left(), 13'500'000);
  EXPECT_EQ(read(R"({"credits": "7", "free-credits": null})").value(), 7'000'000);
  EXPECT_EQ(read(R"({"free-credits": 0})").value(), 0);
  EXPECT_EQ(left(), 0);
  EXPECT_EQ(read(R"({"credits": 3})").value(), 3'000'000);
  for (const char* body :
       {"<html>credits</html>", "", "12", "[]", "{}", R"({"credits": null})", R"({"credits": -1})",
        R"({"credits": "many"})", R"({"credits": 1e300})", R"({"credits": true})",
        R"({"credits": {}})", R"({"credits": 5, "free-credits": "x"})",
        R"({"credits": 99999999999999999999999})"}) {
    EXPECT_EQ(ReasonOf(read(body).status()), pb::ErrorReason::UPSTREAM_MALFORMED) << body;
    EXPECT_EQ(left(), 3'000'000) << body;
  }
  EXPECT_EQ(client_->state(), pb::GatewayStatus::HEALTHY);
}

TEST_F(Client, HearsOfCreditsWithAnyAnswer) {
  for (const auto& [code, body] : {std::pair(200, Sample("details.json")),
                                   std::pair(402, std::string(R"({"error": "no credits"})"))}) {
    http_.Script(FakeHttpClient::Answer(code, body, {{"x-remaining-credits", "1.5"}}));
    Details();
    EXPECT_EQ(client_->credits().At(clock_.Now())->micros, 1'500'000);
    clock_.Advance(absl::Hours(2));
    EXPECT_EQ(client_->credits().At(clock_.Now()), std::nullopt);
  }
}

TEST_F(Client, SendsTheDocumentedSubmit) {
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"pb(data_source_uri: "https://x/y.zip"
                                                                 base_model: "FAST_FLUX"
                                                                 parameters { steps: 10 })pb",
                                                            &fine_tune_));
  http_.Script(200, Sample("submit.json"));
  Submit();
  ASSERT_TRUE(submitted_);
  EXPECT_EQ(submitted_->kind, Kind::kAccepted);
  EXPECT_EQ(submitted_->job.id, "uuid");
  EXPECT_EQ(submitted_->job.status, "REQUESTED");
  ASSERT_EQ(http_.requests.size(), 1);
  const HttpRequest& request = http_.requests[0];
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.url, "http://segmind.test/finetune/request/submit");
  ASSERT_EQ(request.secret_headers.size(), 1u);
  EXPECT_EQ(request.secret_headers[0].first, "x-api-key");
  EXPECT_EQ(request.secret_headers[0].second.Reveal(), "key-1");
  EXPECT_TRUE(request.fresh_connection);
  EXPECT_THAT(request.headers,
              testing::Contains(testing::Pair("Content-Type", "application/json")));
  EXPECT_THAT(request.body, HasSubstr(R"("name":"name")"));
  // The caller's deadline does not cut what has been sent.
  EXPECT_EQ(request.deadline, In(absl::Seconds(60)));
}

TEST_F(Client, AcceptsASubmitAnswerUnderAnyNameOfTheId) {
  for (const char* body :
       {R"({"request_id":"q","status":"REQUESTED"})", R"({"id":"q"})",
        R"({"finetune":{"finetune_id":"q"}})", R"({"finetune_id":"q","status":null,"name":7})"}) {
    http_.Script(201, body);
    Submit();
    ASSERT_TRUE(submitted_);
    EXPECT_EQ(submitted_->kind, Kind::kAccepted) << body;
    EXPECT_EQ(submitted_->job.id, "q");
  }
}

TEST_F(Client, TakesOnlySegmindsDefiniteNoForARefusal) {
  const std::string error = R"({"error":"words"})";
  keys_ = FakeKeySource({"only"});
  for (int code : {400, 401, 402, 403, 404, 405, 406, 409, 410, 411, 413, 422, 429, 451}) {
    Make({.url = "http://segmind.test"});
    http_.Script(code, error);
    Submit();
    ASSERT_TRUE(submitted_);
    EXPECT_EQ(submitted_->kind, Kind::kRefused) << code;
    EXPECT_NE(ReasonOf(submitted_->status), pb::ErrorReason::REASON_UNSPECIFIED);
    // The same from something in front of it says nothing.
    for (const char* body : {"<html>x</html>", "x", "", "{}"}) {
      Make({.url = "http://segmind.test"});
      http_.Script(code, body);
      Submit();
      ASSERT_TRUE(submitted_);
      EXPECT_EQ(submitted_->kind, Kind::kUnknown) << code << body;
    }
  }
  // A 429 holds back what comes after it.
  Make({.url = "http://segmind.test"});
  for (int code : {302, 408, 418, 425, 499, 500, 502, 503, 504, 599}) {
    http_.Script(code, error);
    Submit();
    ASSERT_TRUE(submitted_);
    EXPECT_EQ(submitted_->kind, Kind::kUnknown) << code;
    EXPECT_FALSE(submitted_->status.ok());
  }
  for (const char* body :
       {error.c_str(), "", "{}", "null", "<html>", R"({"status":"REQUESTED"})"}) {
    http_.Script(200, body);
    Submit();
    EXPECT_EQ(submitted_->kind, Kind::kUnknown) << body;
  }
  for (const absl::Status& failure :
       {absl::UnavailableError("reset"), absl::DeadlineExceededError("late"),
        absl::DataLossError("cut"), absl::ResourceExhaustedError("long"),
        absl::CancelledError("stop")}) {
    http_.Script(FakeHttpClient::Failure(failure, /*sent=*/true));
    Submit();
    ASSERT_TRUE(submitted_);
    EXPECT_EQ(submitted_->kind, Kind::kUnknown) << failure;
    http_.Script(FakeHttpClient::Failure(failure, /*sent=*/false));
    Submit();
    ASSERT_TRUE(submitted_);
    EXPECT_EQ(submitted_->kind, Kind::kNotSent) << failure;
    EXPECT_FALSE(submitted_->status.ok());
  }
}

TEST_F(Client, SendsNoSubmitAgainForAPageThatSays401) {
  http_.Script(401, "<html>Unauthorized</html>");
  http_.Script(200, Sample("submit.json"));
  Submit();
  EXPECT_EQ(submitted_->kind, Kind::kUnknown);
  EXPECT_EQ(http_.requests.size(), 1u);
}

TEST_F(Client, WaitsAsLongAsA503Says) {
  http_.Script(FakeHttpClient::Answer(503, "<html>", {{"retry-after", "7200"}}));
  GetList(absl::Minutes(1));
  ASSERT_TRUE(list_);
  EXPECT_EQ(RetryDelayOf(list_->status()), absl::Hours(2));
  // Calls of its kind are not even tried; others are.
  clock_.Advance(absl::Minutes(30));
  GetList(absl::Minutes(1));
  ASSERT_TRUE(list_);
  EXPECT_EQ(ReasonOf(list_->status()), pb::ErrorReason::UPSTREAM_UNAVAILABLE);
  EXPECT_EQ(RetryDelayOf(list_->status()), absl::Minutes(90));
  EXPECT_EQ(http_.requests.size(), 1u);
  http_.Script(200, Sample("details.json"));
  EXPECT_TRUE(Details()->ok());
  // One that has the time waits.
  GetList(absl::Hours(2));
  EXPECT_FALSE(list_);
  clock_.Advance(absl::Minutes(89));
  EXPECT_EQ(http_.requests.size(), 2u);
  http_.Script(200, "[]");
  clock_.Advance(absl::Minutes(2));
  ASSERT_TRUE(list_);
  EXPECT_TRUE(list_->ok());
}

TEST_F(Client, PassesOnHowLongA429Holds) {
  http_.Script(FakeHttpClient::Answer(429, R"({"error":"slow"})", {{"retry-after", "7200"}}));
  Submit();
  EXPECT_EQ(submitted_->kind, Kind::kRefused);
  EXPECT_EQ(RetryDelayOf(submitted_->status), absl::Hours(2));
  clock_.Advance(absl::Hours(1));
  GetList(absl::Minutes(1));
  ASSERT_TRUE(list_);
  EXPECT_EQ(ReasonOf(list_->status()), pb::ErrorReason::UPSTREAM_RATE_LIMITED);
  EXPECT_EQ(RetryDelayOf(list_->status()), absl::Hours(1));
  EXPECT_THAT(std::string(list_->status().message()), HasSubstr("asked"));
}

TEST_F(Client, BlamesTheKeyForNoPageAndNotWhileOthersGoWell) {
  http_.Script(200, "[]");
  GetList(absl::Minutes(1));
  for (int i = 0; i < 5; ++i) {
    http_.Script(403, i < 3 ? "<html>Forbidden</html>" : R"({"error":"Forbidden"})");
    Details(absl::Milliseconds(1));
    EXPECT_EQ(client_->state(), pb::GatewayStatus::DEGRADED);
    http_.Script(200, "[]");
    GetList(absl::Minutes(1));
    EXPECT_EQ(client_->state(), pb::GatewayStatus::DEGRADED);
  }
  http_.Script(403, R"({"error":"Forbidden"})");
  GetList(absl::Minutes(1));
  EXPECT_EQ(client_->state(), pb::GatewayStatus::CREDENTIAL_REJECTED);
}

TEST_F(Client, KeepsAKeyThatSegmindRepeatsToItself) {
  keys_ = FakeKeySource({"SG_0a1b2c3d4e5f"});
  http_.Script(200, R"({"finetune":{"finetune_id":"uuid","name":"SG_0a1b2c3d4e5f",)"
                    R"("error_message":"U0dfMGExYjJjM2Q0ZTVm","model_information":)"
                    R"({"a":["SG_0a 1b2c3d4e5f"]},"advance_parameters":{"SG_0a1b2c3d4e5f":"x"}}})");
  auto answer = Details();
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_EQ((*answer)->job.name, "[removed]");
  EXPECT_EQ((*answer)->job.error_message, "[removed]");
  EXPECT_EQ(
      (*answer)->job.model_information->fields().at("a").list_value().values(0).string_value(),
      "[removed]");
  EXPECT_TRUE((*answer)->job.parameters->extra().fields().contains("[removed]"));
  http_.Script(200, R"([{"id":"a","name":"SG_0a1b2c3d4e5f"}])");
  GetList(absl::Minutes(1));
  ListReader reader;
  EXPECT_EQ(reader.Read((*list_)->pages)->changed.at(0).name, "[removed]");
  http_.Script(200, R"({"finetune_id":"SG_0a1b2c3d4e5f"})");
  Submit();
  EXPECT_EQ(submitted_->kind, Kind::kUnknown);
  std::optional<absl::StatusOr<UploadUrlAnswer>> url;
  http_.Script(200, R"({"presigned_url":"https://x/y?k=SG_0a1b2c3d4e5f"})");
  client_->CreateUploadUrl("a.zip", false, In(absl::Minutes(1)),
                           [&](auto result) { url = std::move(result); });
  EXPECT_EQ(ReasonOf(url->status()), pb::ErrorReason::UPSTREAM_MALFORMED);
}

TEST_F(Client, NeverSendsASubmitAgainByItself) {
  for (int code : {500, 429, 400}) {
    http_.requests.clear();
    http_.Script(code, R"({"error":"no"})");
    Submit(absl::Hours(1));
    clock_.Advance(absl::Minutes(30));
    EXPECT_EQ(http_.requests.size(), 1) << code;
  }
  http_.requests.clear();
  http_.Script(FakeHttpClient::Failure(absl::UnavailableError("reset"), true));
  Submit(absl::Hours(1));
  clock_.Advance(absl::Minutes(30));
  EXPECT_EQ(http_.requests.size(), 1);
}

TEST_F(Client, TriesASubmitOnceMoreWithANewKey) {
  http_.Script(401, R"({"error":"Unauthorized"})");
  http_.Script(200, Sample("submit.json"));
  Submit();
  EXPECT_EQ(submitted_->kind, Kind::kAccepted);
  ASSERT_EQ(http_.requests.size(), 2);
  EXPECT_EQ(http_.requests[1].secret_headers.at(0).second.Reveal(), "key-2");
  // Refused with that one too: no third try.
  http_.Script(401, R"({"error":"Unauthorized"})");
  Submit();
  EXPECT_EQ(submitted_->kind, Kind::kRefused);
  EXPECT_EQ(ReasonOf(submitted_->status), pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED);
  EXPECT_EQ(http_.requests.size(), 3);
  EXPECT_EQ(client_->state(), pb::GatewayStatus::CREDENTIAL_REJECTED);
}

TEST_F(Client, RefusesWithoutAKey) {
  keys_ = FakeKeySource({});
  Submit();
  EXPECT_EQ(submitted_->kind, Kind::kRefused);
  EXPECT_EQ(submitted_->status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(ReasonOf(submitted_->status), pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED);
  EXPECT_TRUE(http_.requests.empty());
}

TEST_F(Client, DoesNotSendASubmitThatTheRateLimitMakesTooLate) {
  Make({.url = "http://segmind.test", .calls_per_minute = 1});
  http_.Script(200, "[]");
  GetList(absl::Minutes(1));
  Submit(absl::Seconds(30));
  ASSERT_TRUE(submitted_);
  EXPECT_EQ(submitted_->kind, Kind::kNotSent);
  EXPECT_EQ(ReasonOf(submitted_->status), pb::ErrorReason::UPSTREAM_RATE_LIMITED);
  EXPECT_TRUE(RetryDelayOf(submitted_->status).has_value());
  EXPECT_EQ(client_->calls_left(), 0);
  http_.Script(200, Sample("submit.json"));
  Submit(absl::Minutes(2));
  EXPECT_FALSE(submitted_);
  clock_.Advance(absl::Seconds(61));
  ASSERT_TRUE(submitted_);
  EXPECT_EQ(submitted_->kind, Kind::kAccepted);
}

TEST_F(Client, AsksForDetailsWithABodyOnAGet) {
  http_.Script(200, Sample("details.json"));
  auto answer = Details();
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_EQ((*answer)->job.id, kId);
  EXPECT_TRUE((*answer)->job.from_details);
  EXPECT_EQ((*answer)->start_time, clock_.Now());
  EXPECT_EQ(http_.requests[0].method, "GET");
  EXPECT_EQ(http_.requests[0].url, "http://segmind.test/finetune/request/details");
  EXPECT_EQ(http_.requests[0].body, R"({"request_id":"uuid"})");
}

TEST_F(Client, BelievesDetailsOnlyAboutTheJobItAskedFor) {
  for (const char* body : {R"({"finetune":{"id":"other"}})", R"({"finetune":null})", "[]", "<html>",
                           "", R"({"finetune":{"status":"AVAILABLE"}})"}) {
    http_.Script(200, body);
    auto answer = Details();
    ASSERT_TRUE(answer && !answer->ok()) << body;
    EXPECT_EQ(ReasonOf(answer->status()), pb::ErrorReason::UPSTREAM_MALFORMED) << body;
    EXPECT_EQ(answer->status().code(), absl::StatusCode::kInternal);
  }
  for (const char* body : {R"({"id":"UUID"})", R"({"finetune":{"id":"uuid","finetune_id":"f"}})"}) {
    http_.Script(200, body);
    EXPECT_TRUE(Details()->ok()) << body;
  }
}

TEST_F(Client, SaysThatSegmindDoesNotKnowAJob) {
  http_.Script(404, R"({"error":"not found"})");
  EXPECT_EQ(ReasonOf(Details()->status()), pb::ErrorReason::FINE_TUNE_NOT_FOUND);
}

TEST_F(Client, SurvivesHostileDetails) {
  const std::vector<Variation> variations = HostileVariations(Sample("details.json"));
  EXPECT_GE(variations.size(), 30);
  Make({.url = "http://segmind.test", .calls_per_minute = 100'000});
  for (const Variation& variation : variations) {
    http_.Script(200, variation.body);
    auto answer = Details();
    ASSERT_TRUE(answer) << variation.name;
    if (!answer->ok()) {
      EXPECT_EQ(ReasonOf(answer->status()), pb::ErrorReason::UPSTREAM_MALFORMED) << variation.name;
      EXPECT_LT(answer->status().message().size(), 1024) << variation.name;
    } else {
      EXPECT_TRUE((*answer)->job.id == kId || (*answer)->job.request_id == kId) << variation.name;
      EXPECT_TRUE(IsValidUtf8((*answer)->job.name.value_or(""))) << variation.name;
    }
  }
}

TEST_F(Client, SurvivesHostileSubmitAnswers) {
  const std::vector<Variation> variations = HostileVariations(Sample("submit.json"));
  EXPECT_GE(variations.size(), 30);
  Make({.url = "http://segmind.test", .calls_per_minute = 100'000});
  for (const Variation& variation : variations) {
    http_.Script(200, variation.body);
    Submit();
    // Never a refusal, and never "not sent": Segmind has said 200.
    if (submitted_->kind == Kind::kAccepted) {
      EXPECT_FALSE(submitted_->job.id.empty()) << variation.name;
      EXPECT_TRUE(IsValidUtf8(submitted_->job.id)) << variation.name;
    } else {
      EXPECT_EQ(submitted_->kind, Kind::kUnknown) << variation.name;
      EXPECT_EQ(ReasonOf(submitted_->status), pb::ErrorReason::UPSTREAM_MALFORMED)
          << variation.name;
    }
  }
}

TEST_F(Client, RetriesAReadUntilItsDeadline) {
  http_.Script(500, "<html>");
  http_.Script(FakeHttpClient::Failure(absl::UnavailableError("reset"), true));
  http_.Script(FakeHttpClient::Failure(absl::DataLossError("cut"), true));
  http_.Script(200, "[]");
  GetList(absl::Minutes(1));
  EXPECT_FALSE(list_);
  clock_.Advance(absl::Seconds(10));
  ASSERT_TRUE(list_);
  EXPECT_TRUE(list_->ok());
  EXPECT_EQ(http_.requests.size(), 4);

  for (int i = 0; i < 50; ++i) http_.Script(503, "");
  GetList(absl::Seconds(5));
  clock_.Advance(absl::Seconds(5));
  ASSERT_TRUE(list_);
  EXPECT_EQ(ReasonOf(list_->status()), pb::ErrorReason::UPSTREAM_UNAVAILABLE);
  EXPECT_TRUE(RetryDelayOf(list_->status()).has_value());
  EXPECT_LT(http_.requests.size(), 15);
}

TEST_F(Client, DoesNotRetryWhatWillNotChange) {
  for (int code : {400, 403, 404, 405, 410}) {
    http_.requests.clear();
    http_.Script(code, "{}");
    GetList(absl::Minutes(1));
    EXPECT_TRUE(list_) << code;
    clock_.Advance(absl::Minutes(1));
    EXPECT_EQ(http_.requests.size(), 1) << code;
  }
}

TEST_F(Client, WaitsForTheResetThatA429Names) {
  const absl::Time reset = In(absl::Seconds(20));
  http_.Script(FakeHttpClient::Answer(
      429, "{}", {{"x-rate-limit-reset-at-utc", absl::StrCat(absl::ToUnixSeconds(reset))}}));
  http_.Script(200, "[]");
  GetList(absl::Minutes(1));
  // Others wait too.
  Submit(absl::Seconds(10));
  EXPECT_EQ(submitted_->kind, Kind::kNotSent);
  clock_.Advance(absl::Seconds(19));
  EXPECT_FALSE(list_);
  EXPECT_EQ(client_->state(), pb::GatewayStatus::DEGRADED);
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(list_);
  EXPECT_TRUE(list_->ok());
  EXPECT_EQ(client_->state(), pb::GatewayStatus::HEALTHY);
}

TEST_F(Client, SaysWhatSegmindSaidIfTheResetIsTooFar) {
  http_.Script(FakeHttpClient::Answer(
      429, R"({"error":"slow"})",
      {{"x-rate-limit-reset-at-utc", absl::FormatTime(In(absl::Minutes(10)))}}));
  GetList(absl::Minutes(1));
  ASSERT_TRUE(list_);
  EXPECT_EQ(ReasonOf(list_->status()), pb::ErrorReason::UPSTREAM_RATE_LIMITED);
  EXPECT_EQ(RetryDelayOf(list_->status()), absl::Minutes(10));
}

TEST_F(Client, CutsATryAtTheCallersDeadline) {
  GetList(absl::Seconds(10));
  EXPECT_EQ(http_.requests[0].deadline, In(absl::Seconds(10)));
  clock_.Advance(absl::Seconds(10));
  http_.Release(FakeHttpClient::Failure(absl::DeadlineExceededError("late"), true));
  ASSERT_TRUE(list_);
  EXPECT_TRUE(absl::IsDeadlineExceeded(list_->status()));
}

TEST_F(Client, FollowsAListFromPageToPage) {
  http_.Script(FakeHttpClient::Answer(200, R"({"jobs":[{"id":"a"}],"next_page":2})",
                                      {{"date", "Wed, 01 Jan 2025 00:00:30 GMT"}}));
  GetList(absl::Minutes(1));
  const absl::Time start = clock_.Now();
  EXPECT_FALSE(list_);
  ASSERT_EQ(http_.requests.size(), 2u);
  EXPECT_EQ(http_.requests[1].url, "http://segmind.test/finetune/request/list?page=2");
  EXPECT_EQ(http_.requests[1].secret_headers.size(), 1u);
  clock_.Advance(absl::Seconds(3));
  http_.Release(FakeHttpClient::Answer(200, R"({"jobs":[{"id":"b"}],"next_page":null})"));
  ASSERT_TRUE(list_ && list_->ok());
  EXPECT_EQ((*list_)->start_time, start);
  EXPECT_EQ((*list_)->upstream_time, absl::FromUnixSeconds(1'735'689'630));
  EXPECT_EQ((*list_)->pages.more, "");
  EXPECT_EQ((*list_)->pages.bodies.size(), 2u);
  EXPECT_EQ(client_->calls_left(), 48);
}

TEST_F(Client, AListIsAsOldAsItsOldestPage) {
  http_.Script(200, R"({"jobs":[{"id":"a"}],"next_page":2})");
  http_.Script(
      FakeHttpClient::Answer(200, R"({"jobs":[{"id":"b"}],"next_page":null})", {{"age", "30"}}));
  GetList(absl::Minutes(1));
  ASSERT_TRUE(list_ && list_->ok());
  EXPECT_EQ((*list_)->start_time, clock_.Now() - absl::Seconds(30));
}

TEST_F(Client, KeepsThePagesThatCame) {
  http_.Script(200, R"({"jobs":[{"id":"a"}],"next_page":2})");
  http_.Script(404, R"({"error":"no such page"})");
  GetList(absl::Minutes(1));
  ASSERT_TRUE(list_ && list_->ok());
  EXPECT_THAT((*list_)->pages.more, HasSubstr("page 2"));
  EXPECT_EQ((*list_)->pages.bodies.size(), 1u);
}

TEST_F(Client, EndsAListBetweenPagesBeforeItGoes) {
  http_.Script(200, R"({"jobs":[{"id":"a"}],"next_page":2})");
  GetList(absl::Minutes(1));
  EXPECT_EQ(http_.open(), 1u);
  client_ = nullptr;
  ASSERT_TRUE(list_);
  http_.Shutdown();
}

TEST_F(Client, MakesAnUploadUrl) {
  std::optional<absl::StatusOr<UploadUrlAnswer>> answer;
  const auto ask = [&](const std::string& name, const std::string& body) {
    http_.Script(200, body);
    client_->CreateUploadUrl(name, true, In(absl::Minutes(1)),
                             [&](auto result) { answer = std::move(result); });
  };
  ask("photos.ZIP", Sample("upload_url.json"));
  ASSERT_TRUE(answer && answer->ok()) << answer->status();
  EXPECT_THAT((*answer)->presigned_url.Reveal(), HasSubstr("X-Amz-Signature"));
  EXPECT_THAT((*answer)->s3_url, Not(HasSubstr("?")));
  EXPECT_EQ(http_.requests[0].body, R"({"name":"photos","extension":".zip","public":true})");
  EXPECT_EQ(http_.requests[0].method, "GET");

  const std::vector<Variation> variations = HostileVariations(Sample("upload_url.json"));
  EXPECT_GE(variations.size(), 30);
  Make({.url = "http://segmind.test", .calls_per_minute = 100'000});
  for (const Variation& variation : variations) {
    ask("photos", variation.body);
    if (answer->ok()) {
      EXPECT_THAT((*answer)->presigned_url.Reveal(), testing::StartsWith("http"));
      EXPECT_THAT((*answer)->s3_url, testing::StartsWith("http"));
    } else {
      EXPECT_EQ(ReasonOf(answer->status()), pb::ErrorReason::UPSTREAM_MALFORMED) << variation.name;
      EXPECT_THAT(std::string(answer->status().message()), Not(HasSubstr("Signature")));
    }
  }
}

TEST_F(Client, UpdatesAccessWithAFormWhateverTheAnswersBody) {
  absl::Status status;
  Make({.url = "http://segmind.test", .calls_per_minute = 100'000});
  for (const std::string& body :
       {Sample("access_update.txt"), std::string(), std::string("{}"), std::string("<html>")}) {
    http_.Script(200, body);
    status = absl::UnknownError("not called");
    client_->SetPublic("job", true, In(absl::Minutes(1)), [&](absl::Status s) { status = s; });
    EXPECT_TRUE(status.ok()) << status;
  }
  for (const Variation& variation : HostileVariations(Sample("access_update.txt"))) {
    http_.Script(200, variation.body);
    client_->SetPublic("job", true, In(absl::Minutes(1)), [&](absl::Status s) { status = s; });
    EXPECT_TRUE(status.ok()) << variation.name;
  }
  const HttpRequest& request = http_.requests[0];
  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.url, "http://segmind.test/finetune/request/access-update");
  EXPECT_THAT(request.form, testing::ElementsAre(testing::Pair("request_id", "job"),
                                                 testing::Pair("segmind_public", "True")));
  http_.Script(200, "");
  client_->SetPublic("job", false, In(absl::Minutes(1)), [&](absl::Status s) { status = s; });
  EXPECT_EQ(http_.requests.back().form[1].second, "False");
  http_.Script(404, R"({"error":"unknown"})");
  client_->SetPublic("job", false, In(absl::Minutes(1)), [&](absl::Status s) { status = s; });
  EXPECT_EQ(ReasonOf(status), pb::ErrorReason::FINE_TUNE_NOT_FOUND);
}

TEST_F(Client, MakesADownloadUrl) {
  std::optional<absl::StatusOr<Secret>> answer;
  Make({.url = "http://segmind.test", .calls_per_minute = 100'000});
  const auto ask = [&](const std::string& body) {
    http_.Script(200, body);
    client_->ForgetDownloadUrl("s3://bucket/a b&c");
    client_->CreateDownloadUrl("s3://bucket/a b&c", In(absl::Minutes(1)),
                               [&](auto result) { answer = std::move(result); });
  };
  const std::string url =
      "https://storage.googleapis.com/my-finetune-bucket/abc12345/"
      "model.safetensors";
  for (const std::string& body : {Sample("download_url.txt"), "\"" + url + "\"",
                                  "{\"url\":\"" + url + "\"}", "  " + url + "\r\n"}) {
    ask(body);
    ASSERT_TRUE(answer->ok()) << body;
    EXPECT_EQ((*answer)->Reveal(), url);
  }
  EXPECT_EQ(http_.requests[0].method, "GET");
  EXPECT_EQ(http_.requests[0].body, "cloud_storage_url=s3%3A%2F%2Fbucket%2Fa%20b%26c");
  for (const Variation& variation : HostileVariations(Sample("download_url.txt"))) {
    ask(variation.body);
    if (!answer->ok()) EXPECT_EQ(ReasonOf(answer->status()), pb::ErrorReason::UPSTREAM_MALFORMED);
  }
  ask("javascript:alert(1)");
  EXPECT_FALSE(answer->ok());
  ask("http://a b");
  EXPECT_FALSE(answer->ok());
}

TEST_F(Client, TellsHowSegmindAnswers) {
  EXPECT_EQ(client_->state(), pb::GatewayStatus::HEALTHY);
  http_.Script(410, R"({"error":"gone"})");
  Submit();
  EXPECT_EQ(client_->state(), pb::GatewayStatus::RETIRED);
  http_.Script(200, "[]");
  GetList(absl::Minutes(1));
  EXPECT_EQ(client_->state(), pb::GatewayStatus::RETIRED);
  http_.Script(500, "");
  Submit();
  EXPECT_EQ(client_->state(), pb::GatewayStatus::DEGRADED);
  http_.Script(403, "{}");
  GetList(absl::Minutes(1));
  EXPECT_EQ(client_->state(), pb::GatewayStatus::CREDENTIAL_REJECTED);
  http_.Script(200, Sample("submit.json"));
  Submit();
  // The list still fails.
  EXPECT_EQ(client_->state(), pb::GatewayStatus::DEGRADED);
  http_.Script(200, "[]");
  GetList(absl::Minutes(1));
  EXPECT_EQ(client_->state(), pb::GatewayStatus::HEALTHY);
}

TEST_F(Client, CountsItsCalls) {
  EXPECT_THAT(Scrape(),
              HasSubstr(R"(finetune_gateway_upstream_requests_total{call="submit",code="200"} 0)"));
  http_.Script(200, "[]");
  GetList(absl::Minutes(1));
  http_.Script(400, "{}");
  Submit();
  http_.Script(FakeHttpClient::Failure(absl::UnavailableError("x"), true));
  Submit();
  const std::string text = Scrape();
  for (const char* line :
       {R"(finetune_gateway_upstream_requests_total{call="list",code="200"} 1)",
        R"(finetune_gateway_upstream_requests_total{call="submit",code="400"} 1)",
        R"(finetune_gateway_upstream_requests_total{call="submit",code="error"} 1)",
        R"(finetune_gateway_upstream_seconds_count{call="submit"} 2)"})
    EXPECT_THAT(text, HasSubstr(line));
  EXPECT_THAT(text, Not(HasSubstr("key-1")));
}

TEST_F(Client, EndsEveryCallBeforeItGoes) {
  Make({.url = "http://segmind.test", .calls_per_minute = 2});
  GetList(absl::Minutes(10));  // At Segmind.
  Submit(absl::Minutes(10));   // At Segmind.
  absl::Status waiting;
  client_->SetPublic("job", true, In(absl::Minutes(10)), [&](absl::Status s) { waiting = s; });
  EXPECT_EQ(http_.open(), 2);
  client_ = nullptr;
  ASSERT_TRUE(list_ && submitted_);
  EXPECT_TRUE(absl::IsCancelled(list_->status()));
  EXPECT_EQ(submitted_->kind, Kind::kUnknown);
  EXPECT_TRUE(absl::IsCancelled(waiting));
  // What the transport and the clock still have does nothing.
  http_.Release(FakeHttpClient::Answer(200, "[]"));
  http_.Shutdown();
  clock_.Advance(absl::Hours(1));
}

TEST_F(Client, EndsACallThatNobodyWaitsForAnyMore) {
  Make({.url = "http://segmind.test", .calls_per_minute = 1});
  int cancelled = 0;
  const auto ask = [&](const std::shared_ptr<const Cancellation>& cancellation) {
    client_->CreateUploadUrl("a.zip", false,
                             {In(absl::Hours(10)), TraceContext(), nullptr, cancellation},
                             [&](absl::StatusOr<UploadUrlAnswer> answer) {
                               if (absl::IsCancelled(answer.status())) ++cancelled;
                             });
  };
  // One is at Segmind, the others wait for the rate limit.
  const auto all = std::make_shared<Cancellation>();
  for (int i = 0; i < 40; ++i) ask(all);
  EXPECT_EQ(http_.open(), 1u);
  EXPECT_EQ(http_.requests[0].cancellation, all);
  all->Cancel();
  EXPECT_EQ(cancelled, 40);
  // What the transport says of it afterwards does nothing, and who comes next does not wait.
  http_.Release(FakeHttpClient::Failure(absl::CancelledError("cancelled"), true));
  ask(nullptr);
  clock_.Advance(absl::Seconds(61));
  EXPECT_EQ(http_.requests.size(), 2u);
  // Between two tries.
  http_.Release(FakeHttpClient::Answer(200, "{}"));
  const auto between = std::make_shared<Cancellation>();
  clock_.Advance(absl::Seconds(61));
  ask(between);
  ASSERT_EQ(http_.open(), 1u);
  http_.Release(FakeHttpClient::Answer(500, ""));
  between->Cancel();
  EXPECT_EQ(cancelled, 41);
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(http_.requests.size(), 3u);
  ask(between);
  EXPECT_EQ(cancelled, 42);
}

TEST_F(Client, EndsACallThatWaitsForItsNextTry) {
  http_.Script(500, "");
  GetList(absl::Minutes(10));
  EXPECT_FALSE(list_);
  client_ = nullptr;
  ASSERT_TRUE(list_);
  EXPECT_TRUE(absl::IsCancelled(list_->status()));
  clock_.Advance(absl::Hours(1));
  EXPECT_EQ(http_.requests.size(), 1);
}

std::string HeaderOf(const HttpRequest& request, std::string_view wanted) {
  for (const auto& [name, value] : request.headers)
    if (name == wanted) return value;
  return "";
}

std::string TraceparentOf(const HttpRequest& request) { return HeaderOf(request, "traceparent"); }

TEST_F(Client, EachTryIsASpanThatSegmindIsToldOf) {
  SpanCollector spans;
  Tracer tracer({}, spans, clock_);
  const Span root = tracer.Start(clock_.Now(), SpanKind::kServer, "root", {});
  http_.Script(503, "{}");
  http_.Script(200, Sample("details.json"));
  client_->GetDetails(kId, {In(absl::Minutes(1)), root.context()}, [](auto) {});
  clock_.Advance(absl::Seconds(10));
  const auto tries = spans.Named("GET /finetune/request/details");
  ASSERT_EQ(tries.size(), 2u);
  ASSERT_EQ(http_.requests.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(tries[i].parent_id, root.context().span_id);
    EXPECT_EQ(TraceparentOf(http_.requests[i]), tries[i].context.Traceparent());
  }
  EXPECT_EQ(AttributeOf(tries[0], "error.type"), "503");
  EXPECT_EQ(AttributeOf(tries[1], "http.response.status_code"), "200");
  EXPECT_EQ(AttributeOf(tries[1], "http.request.resend_count"), "1");
}

TEST_F(Client, ATraceThatIsNotRecordedHereIsPassedOnAndWithoutOneNothingIs) {
  constexpr char kHeader[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  http_.Script(200, Sample("details.json"));
  TraceContext trace = *ParseTraceparent(kHeader);
  trace.state = ParseTracestate("congo=t61rcWkgMzE");
  client_->GetDetails(kId, {In(absl::Minutes(1)), trace}, [](auto) {});
  EXPECT_EQ(TraceparentOf(http_.requests.at(0)), kHeader);
  EXPECT_EQ(HeaderOf(http_.requests.at(0), "tracestate"), "congo=t61rcWkgMzE");
  http_.Script(200, Sample("details.json"));
  Details();
  EXPECT_EQ(TraceparentOf(http_.requests.at(1)), "");
  EXPECT_EQ(HeaderOf(http_.requests.at(1), "tracestate"), "");
}

}  // namespace
}  // namespace finetune
