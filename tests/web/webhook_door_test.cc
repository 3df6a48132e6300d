#include "server/web/webhook_door.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "server/web/webhook_tokens.h"
#include "tests/base/manual_clock.h"
#include "tests/base/span_collector.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kDoorToken[] = "0123456789abcdef0123456789abcdef";
constexpr char kNextToken[] = "fedcba9876543210fedcba9876543210";

class WebhookTest : public ::testing::Test {
 protected:
  WebhookTest() {
    path_ = std::filesystem::temp_directory_path() /
            absl::StrCat("webhook-token-", getpid(), "-",
                         ::testing::UnitTest::GetInstance()->current_test_info()->name());
    Write(absl::StrCat(kDoorToken, "\n"));
    tokens_ = *WebhookTokens::Open(path_, rereader_);
    door_ = std::make_unique<WebhookDoor>(
        *tokens_,
        [this](std::string id, const TraceContext& trace) {
          hints_.push_back(std::move(id));
          trace_ = trace;
        },
        clock_, metrics_, tracer_);
  }
  ~WebhookTest() override { std::filesystem::remove(path_); }

  void Write(const std::string& text) { std::ofstream(path_, std::ios::trunc) << text; }
  // As HttpServer asks.
  WebReply Ask(const WebRequest& request) {
    auto reply = door_->Judge({.method = request.method, .path = request.path});
    return reply ? *reply : door_->Take(request);
  }
  int Send(const std::string& method, const std::string& token, const std::string& body) {
    const std::string path = "/webhooks/segmind/" + token;
    return Ask({.method = method, .path = path, .body = body}).code;
  }

  std::string path_;
  ManualClock clock_;
  Metrics metrics_;
  FileRereader rereader_{clock_, metrics_};
  SpanCollector spans_;
  Tracer tracer_{{}, spans_, clock_};
  std::unique_ptr<WebhookTokens> tokens_;
  std::unique_ptr<WebhookDoor> door_;
  std::vector<std::string> hints_;
  TraceContext trace_;  // Of the latest.
};

TEST_F(WebhookTest, TakesAnEventAsAHint) {
  EXPECT_EQ(Send("POST", kDoorToken, R"({"finetune_id":"f-1","status":"AVAILABLE"})"), 200);
  EXPECT_THAT(hints_, ElementsAre("f-1"));
  EXPECT_EQ(door_->last_event_time(), clock_.Now());
}

TEST_F(WebhookTest, AnEventIsATraceThatDoesNotShowTheToken) {
  Send("POST", kDoorToken, R"({"finetune_id":"f-1","status":"AVAILABLE"})");
  Send("POST", kNextToken, R"({"finetune_id":"f-1","status":"AVAILABLE"})");
  Send("GET", kDoorToken, "");
  ASSERT_EQ(spans_.records().size(), 1u) << "only of those that may speak";
  const SpanRecord span = spans_.records()[0];
  EXPECT_EQ(span.name, "POST /webhooks/segmind/{token}");
  EXPECT_EQ(span.kind, SpanKind::kServer);
  EXPECT_EQ(span.parent_id, 0u);
  EXPECT_EQ(trace_.SpanId(), span.context.SpanId());
  EXPECT_EQ(AttributeOf(span, "http.route"), "/webhooks/segmind/{token}");
  EXPECT_EQ(AttributeOf(span, "http.response.status_code"), "200");
  EXPECT_EQ(AttributeOf(span, "finetune.upstream_id"), "f-1");
  for (const auto& [key, value] : span.attributes)
    EXPECT_THAT(AttributeOf(span, key), Not(HasSubstr(kDoorToken))) << key;
}

TEST_F(WebhookTest, TakesWhateverComesWithAGoodTokenAsAReasonToLook) {
  const std::string kBodies[] = {
      "",
      "{}",
      "[]",
      "not json",
      R"({"status":"AVAILABLE"})",
      R"({"event":{"payload":{"deep":{"finetune_id":"f-1"}}}})",
      R"([{"finetune_id":"f-1"},{"finetune_id":"f-2"}])",
      R"("{\"finetune_id\":\"f-1\"}")",
      "finetune_id=f-1&status=AVAILABLE",
      std::string("\x1f\x8b\x08\0\0\0\0\0", 8),
      std::string("\0\xff", 2),
  };
  for (const std::string& body : kBodies) EXPECT_EQ(Send("POST", kDoorToken, body), 200) << body;
  EXPECT_EQ(hints_.size(), std::size(kBodies));
  for (const std::string& hint : hints_) EXPECT_EQ(hint, "");
}

TEST_F(WebhookTest, JudgesPathTokenAndMethodBeforeAnyBody) {
  const std::string good = absl::StrCat("/webhooks/segmind/", kDoorToken);
  EXPECT_EQ(door_->Judge({.method = "POST", .path = good}).has_value(), false);
  EXPECT_EQ(door_->Judge({.method = "PUT", .path = good})->code, 405);
  EXPECT_EQ(door_->Judge({.method = "POST", .path = good + "x"})->code, 404);
  EXPECT_TRUE(hints_.empty());
}

TEST_F(WebhookTest, IsUnknownToWhoHasNoToken) {
  EXPECT_EQ(Send("POST", kNextToken, R"({"id":"f"})"), 404);
  EXPECT_EQ(Send("POST", "", R"({"id":"f"})"), 404);
  EXPECT_EQ(Send("GET", kNextToken, ""), 404);
  EXPECT_EQ(Ask({.method = "POST", .path = "/", .body = "{}"}).code, 404);
  EXPECT_TRUE(hints_.empty());
}

TEST_F(WebhookTest, TakesOnlyPost) {
  const std::string path = absl::StrCat("/webhooks/segmind/", kDoorToken);
  const WebReply reply = Ask({.method = "GET", .path = path});
  EXPECT_EQ(reply.code, 405);
  EXPECT_THAT(reply.headers, ElementsAre(testing::Pair("Allow", "POST")));
}

TEST_F(WebhookTest, RefusesABodyThatIsTooLongAndLooksAllTheSame) {
  const std::string path = absl::StrCat("/webhooks/segmind/", kDoorToken);
  EXPECT_EQ(Ask({.method = "POST", .path = path, .body_too_long = true}).code, 413);
  EXPECT_THAT(hints_, ElementsAre("")) << "something has happened all the same";
}

TEST_F(WebhookTest, TakesTwoTokensDuringRotationAndThenOne) {
  Write(absl::StrCat(kDoorToken, "\n\n  ", kNextToken, "  \n"));
  rereader_.LookNow();
  EXPECT_EQ(Send("POST", kDoorToken, "{}"), 200);
  EXPECT_EQ(Send("POST", kNextToken, "{}"), 200);
  Write(absl::StrCat(kNextToken, "\n"));
  rereader_.LookNow();
  EXPECT_EQ(Send("POST", kDoorToken, "{}"), 404);
  EXPECT_EQ(Send("POST", kNextToken, "{}"), 200);
}

TEST_F(WebhookTest, KeepsItsTokensWhenTheFileTurnsBad) {
  Write("short\n");
  rereader_.LookNow();
  EXPECT_EQ(Send("POST", kDoorToken, "{}"), 200);
  EXPECT_EQ(Send("POST", "short", "{}"), 404);
}

TEST_F(WebhookTest, LosesARevokedTokenAlthoughTheFileCouldNotBeReadAtThatMoment) {
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  rereader_.LookNow();
  EXPECT_EQ(Send("POST", kDoorToken, "{}"), 200);
  std::filesystem::remove(path_);
  Write(absl::StrCat("\xef\xbb\xbf", kNextToken, "\n"));
  rereader_.LookNow();
  EXPECT_EQ(Send("POST", kDoorToken, "{}"), 404);
  EXPECT_EQ(Send("POST", kNextToken, "{}"), 200);
}

TEST_F(WebhookTest, RefusesToStartWithAWeakToken) {
  for (const char* text : {"", "\n\n", "too-short", "0123456789abcdef0123/6789abcdef"}) {
    Write(text);
    EXPECT_EQ(WebhookTokens::Open(path_, rereader_).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
  EXPECT_FALSE(WebhookTokens::Open("/nowhere/token", rereader_).ok());
}

}  // namespace
}  // namespace finetune
