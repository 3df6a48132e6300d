#include "server/segmind/upstream_exchange.h"

#include <gtest/gtest.h>

#include <optional>

#include "server/base/cancellation.h"
#include "tests/base/manual_clock.h"
#include "tests/http/fake_http_client.h"

namespace finetune {
namespace {

constexpr char kOwnWords[] = R"({"error":"words"})";

class UpstreamExchangeTest : public ::testing::Test {
 protected:
  UpstreamExchangeTest() { Make(); }
  ~UpstreamExchangeTest() override { exchange_->Shutdown(); }
  void Make(int calls_per_minute = 50) {
    if (exchange_ != nullptr) exchange_->Shutdown();
    exchange_ = std::make_shared<UpstreamExchange>(calls_per_minute, nullptr, http_, keys_, clock_,
                                                   metrics_, credits_);
  }

  ExchangeCall Call(UpstreamCall call = UpstreamCall::kDetails) {
    ExchangeCall made;
    made.subject = {call, "id"};
    made.request.method = "GET";
    made.request.url = "http://segmind.test/x";
    made.deadline = clock_.Now() + absl::Minutes(1);
    made.try_timeout = absl::Seconds(30);
    return made;
  }
  ExchangeCall Submit() {
    ExchangeCall call = Call(UpstreamCall::kSubmit);
    call.once = true;
    call.priority = RateLimiter::Priority::kSubmit;
    return call;
  }
  // Its result, once it has one.
  using Result = std::shared_ptr<std::optional<ExchangeResult>>;
  Result Start(ExchangeCall call) {
    auto result = std::make_shared<std::optional<ExchangeResult>>();
    exchange_->Start(std::move(call), [result](ExchangeResult got) {
      EXPECT_FALSE(result->has_value()) << "ended twice";
      *result = std::move(got);
    });
    return result;
  }

  ManualClock clock_;
  FakeHttpClient http_;
  FakeKeySource keys_{{"key-1", "key-2"}};
  Metrics metrics_;
  AccountCredits credits_{absl::Hours(1), metrics_};
  std::shared_ptr<UpstreamExchange> exchange_;
};

TEST_F(UpstreamExchangeTest, SendsTheKeyApartAndHandsOnWhatCame) {
  http_.Script(200, "body");
  const Result result = Start(Call());
  ASSERT_TRUE(*result);
  EXPECT_TRUE((*result)->status.ok());
  EXPECT_TRUE((*result)->sent);
  EXPECT_EQ((*result)->response.body, "body");
  EXPECT_EQ((*result)->start_time, clock_.Now());
  EXPECT_TRUE((*result)->scrubber->Finds("so key-1 is"));
  ASSERT_EQ(http_.requests.size(), 1u);
  EXPECT_EQ(http_.requests[0].secret_headers[0].second.Reveal(), "key-1");
  EXPECT_TRUE(http_.requests[0].headers.empty());
  const int left = exchange_->calls_left();
  http_.Script(200, "body");
  Start(Call());
  EXPECT_EQ(exchange_->calls_left(), left - 1);
}

TEST_F(UpstreamExchangeTest, AnAnswerFromACacheIsAsOldAsItSays) {
  http_.Script(FakeHttpClient::Answer(200, "body", {{"age", "90"}}));
  const Result result = Start(Call());
  ASSERT_TRUE(*result);
  EXPECT_EQ((*result)->start_time, clock_.Now() - absl::Seconds(90));
}

TEST_F(UpstreamExchangeTest, TriesAgainWhatMayDoLaterAndEndsWithSegmindsLastWord) {
  http_.Script(FakeHttpClient::Failure(absl::UnavailableError("reset"), true));
  http_.Script(200, "{}");
  const Result result = Start(Call());
  EXPECT_FALSE(*result);
  clock_.Advance(absl::Seconds(2));
  ASSERT_TRUE(*result);
  EXPECT_TRUE((*result)->status.ok());
  EXPECT_EQ(http_.requests.size(), 2u);

  for (int i = 0; i < 20; ++i) http_.Script(500, kOwnWords);
  const Result failing = Start(Call());
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(*failing);
  EXPECT_EQ((*failing)->response.code, 500);
  EXPECT_EQ((*failing)->status.code(), absl::StatusCode::kUnavailable);
  EXPECT_GT(http_.requests.size(), 4u);
}

TEST_F(UpstreamExchangeTest, NeverSendsAgainWhatGoesOnce) {
  for (const int code : {0, 408, 429, 500, 503}) {
    Make();
    const size_t before = http_.requests.size();
    http_.Script(code == 0 ? FakeHttpClient::Failure(absl::UnavailableError("reset"), true)
                           : FakeHttpClient::Answer(code, kOwnWords));
    const Result result = Start(Submit());
    ASSERT_TRUE(*result) << code;
    EXPECT_FALSE((*result)->status.ok()) << code;
    EXPECT_TRUE((*result)->sent) << code;
    clock_.Advance(absl::Minutes(10));
    EXPECT_EQ(http_.requests.size(), before + 1) << code;
  }
}

TEST_F(UpstreamExchangeTest, GivesWhatGoesOnceItsWholeTimeAndCutsWhatDoesNot) {
  ExchangeCall once = Submit();
  once.deadline = clock_.Now() + absl::Seconds(5);
  Start(once);
  EXPECT_EQ(http_.requests.back().deadline, clock_.Now() + absl::Seconds(30));
  ExchangeCall read = Call();
  read.deadline = clock_.Now() + absl::Seconds(5);
  Start(read);
  EXPECT_EQ(http_.requests.back().deadline, clock_.Now() + absl::Seconds(5));
}

TEST_F(UpstreamExchangeTest, TakesANewKeyOnceAfterA401AlsoForASubmit) {
  http_.Script(401, kOwnWords);
  http_.Script(200, "{}");
  const Result result = Start(Submit());
  ASSERT_TRUE(*result);
  EXPECT_TRUE((*result)->status.ok());
  EXPECT_EQ(http_.requests[1].secret_headers[0].second.Reveal(), "key-2");

  http_.Script(401, kOwnWords);
  const Result refused = Start(Submit());
  ASSERT_TRUE(*refused);
  EXPECT_TRUE((*refused)->refused);
  EXPECT_EQ(ReasonOf((*refused)->status), pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED);
  EXPECT_EQ(http_.requests.size(), 3u);
}

TEST_F(UpstreamExchangeTest, AsksNobodyWithoutAKey) {
  keys_ = FakeKeySource({});
  const Result result = Start(Submit());
  ASSERT_TRUE(*result);
  EXPECT_TRUE((*result)->no_key);
  EXPECT_FALSE((*result)->sent);
  EXPECT_EQ(ReasonOf((*result)->status), pb::ErrorReason::UPSTREAM_CREDENTIAL_REJECTED);
  EXPECT_TRUE(http_.requests.empty());
}

TEST_F(UpstreamExchangeTest, A503ThatSaysForHowLongHoldsBackItsKindAlone) {
  http_.Script(FakeHttpClient::Answer(503, kOwnWords, {{"retry-after", "3600"}}));
  const Result first = Start(Call());
  ASSERT_TRUE(*first);
  EXPECT_EQ((*first)->status.code(), absl::StatusCode::kUnavailable);
  const Result held = Start(Call());
  ASSERT_TRUE(*held);
  EXPECT_FALSE((*held)->sent);
  EXPECT_EQ(RetryDelayOf((*held)->status), absl::Hours(1));
  EXPECT_EQ(http_.requests.size(), 1u);
  http_.Script(200, "[]");
  EXPECT_TRUE((*Start(Call(UpstreamCall::kList)))->status.ok());
  clock_.Advance(absl::Hours(1));
  http_.Script(200, "{}");
  EXPECT_TRUE((*Start(Call()))->status.ok());
}

TEST_F(UpstreamExchangeTest, A429HoldsBackAllCalls) {
  http_.Script(FakeHttpClient::Answer(429, kOwnWords, {{"retry-after", "20"}}));
  http_.Script(200, "{}");
  http_.Script(200, "[]");
  const Result limited = Start(Call());
  const Result other = Start(Call(UpstreamCall::kList));
  clock_.Advance(absl::Seconds(19));
  EXPECT_EQ(http_.requests.size(), 1u);
  clock_.Advance(absl::Seconds(2));
  ASSERT_TRUE(*limited && *other);
  EXPECT_TRUE((*limited)->status.ok());
  EXPECT_TRUE((*other)->status.ok());
}

TEST_F(UpstreamExchangeTest, EndsACallThatNobodyWaitsForWhereverItIs) {
  const auto cancellation = std::make_shared<Cancellation>();
  ExchangeCall call = Call();
  call.cancellation = cancellation;
  const Result under_way = Start(call);
  EXPECT_EQ(http_.open(), 1u);
  cancellation->Cancel();
  ASSERT_TRUE(*under_way);
  EXPECT_TRUE(absl::IsCancelled((*under_way)->status));
  // What comes now comes too late, and one that begins now is not sent.
  http_.Release(FakeHttpClient::Answer(200, "{}"));
  const Result late = Start(call);
  ASSERT_TRUE(*late);
  EXPECT_TRUE(absl::IsCancelled((*late)->status));
  EXPECT_EQ(http_.requests.size(), 1u);
}

TEST_F(UpstreamExchangeTest, ShutdownEndsAllAndTellsWhatMayHaveBeenSent) {
  const Result under_way = Start(Submit());
  http_.Script(FakeHttpClient::Failure(absl::UnavailableError("reset"), true));
  const Result waits = Start(Call());  // For its next try.
  EXPECT_FALSE(*waits);
  exchange_->Shutdown();
  ASSERT_TRUE(*under_way && *waits);
  EXPECT_TRUE(absl::IsCancelled((*under_way)->status));
  EXPECT_TRUE((*under_way)->sent);
  EXPECT_TRUE(absl::IsCancelled((*waits)->status));
  const Result after = Start(Call());
  ASSERT_TRUE(*after);
  EXPECT_TRUE(absl::IsCancelled((*after)->status));
  EXPECT_FALSE((*after)->sent);
  clock_.Advance(absl::Minutes(10));
  EXPECT_EQ(http_.requests.size(), 2u);
}

}  // namespace
}  // namespace finetune
