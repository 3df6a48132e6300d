#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "server/segmind/webhook_event.h"
#include "server/web/admin_door.h"
#include "server/web/http_server.h"
#include "server/web/webhook_door.h"
#include "server/web/webhook_tokens.h"
#include "tests/base/manual_clock.h"
#include "tests/base/span_collector.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kToken[] = "0123456789abcdef0123456789abcdef";
constexpr char kNextToken[] = "fedcba9876543210fedcba9876543210";

// Sends `text` to the port as it is and reads until the server closes or nothing comes.
std::string Exchange(int port, const std::string& text) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const timeval timeout{10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  send(fd, text.data(), text.size(), MSG_NOSIGNAL);
  std::string answer;
  char buffer[4096];
  ssize_t got;
  while ((got = recv(fd, buffer, sizeof(buffer), 0)) > 0) answer.append(buffer, got);
  close(fd);
  return answer;
}

std::string Request(const std::string& method, const std::string& path, const std::string& body) {
  return absl::StrCat(method, " ", path, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
                      "Content-Length: ", body.size(), "\r\n\r\n", body);
}

int CodeOf(const std::string& answer) {
  return answer.size() > 12 ? std::stoi(answer.substr(9, 3)) : 0;
}

class WebhookTest : public ::testing::Test {
 protected:
  WebhookTest() {
    path_ = std::filesystem::temp_directory_path() /
            absl::StrCat("webhook-token-", getpid(), "-",
                         ::testing::UnitTest::GetInstance()->current_test_info()->name());
    Write(absl::StrCat(kToken, "\n"));
    tokens_ = *WebhookTokens::Open(path_, rereader_);
    door_ = std::make_unique<WebhookDoor>(
        *tokens_,
        [this](std::string id, const TraceContext& trace) {
          hints_.push_back(std::move(id));
          trace_ = trace;
        },
        clock_, metrics_, tracer_);
    server_ = *HttpServer::Start({.host = "127.0.0.1"},
                                 [this](const WebRequest& r) { return door_->Handle(r); });
  }
  ~WebhookTest() override { std::filesystem::remove(path_); }

  void Write(const std::string& text) { std::ofstream(path_, std::ios::trunc) << text; }
  int Send(const std::string& method, const std::string& token, const std::string& body) {
    return CodeOf(Exchange(server_->port(), Request(method, "/webhooks/segmind/" + token, body)));
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
  std::unique_ptr<HttpServer> server_;
};

TEST_F(WebhookTest, TakesAnEventAsAHint) {
  EXPECT_EQ(Send("POST", kToken, R"({"finetune_id":"f-1","status":"AVAILABLE"})"), 200);
  EXPECT_THAT(hints_, ElementsAre("f-1"));
  EXPECT_EQ(door_->last_event_time(), clock_.Now());
}

TEST_F(WebhookTest, AnEventIsATraceThatDoesNotShowTheToken) {
  Send("POST", kToken, R"({"finetune_id":"f-1","status":"AVAILABLE"})");
  Send("POST", kNextToken, R"({"finetune_id":"f-1","status":"AVAILABLE"})");
  Send("GET", kToken, "");
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
    EXPECT_THAT(AttributeOf(span, key), Not(HasSubstr(kToken))) << key;
}

TEST_F(WebhookTest, AcknowledgesWhatItCannotRead) {
  for (const char* body : {"", "{}", "[]", "not json", R"({"status":"AVAILABLE"})"})
    EXPECT_EQ(Send("POST", kToken, body), 200) << body;
  EXPECT_TRUE(hints_.empty());
}

TEST_F(WebhookTest, IsUnknownToWhoHasNoToken) {
  EXPECT_EQ(Send("POST", kNextToken, R"({"id":"f"})"), 404);
  EXPECT_EQ(Send("POST", "", R"({"id":"f"})"), 404);
  EXPECT_EQ(Send("GET", kNextToken, ""), 404);
  EXPECT_EQ(CodeOf(Exchange(server_->port(), Request("POST", "/", "{}"))), 404);
  EXPECT_TRUE(hints_.empty());
}

TEST_F(WebhookTest, TakesOnlyPost) {
  const std::string answer =
      Exchange(server_->port(), Request("GET", absl::StrCat("/webhooks/segmind/", kToken), ""));
  EXPECT_EQ(CodeOf(answer), 405);
  EXPECT_THAT(answer, HasSubstr("Allow: POST"));
}

TEST_F(WebhookTest, RefusesABodyThatIsTooLong) {
  const std::string head = absl::StrCat("POST /webhooks/segmind/", kToken,
                                        " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
  EXPECT_EQ(CodeOf(Exchange(server_->port(), head + "Content-Length: 300000\r\n\r\n")), 413);
  std::string chunked = head + "Transfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 5; ++i) chunked += "10000\r\n" + std::string(0x10000, 'x') + "\r\n";
  EXPECT_EQ(CodeOf(Exchange(server_->port(), chunked + "0\r\n\r\n")), 413);
  EXPECT_EQ(Send("POST", kToken, R"({"id":"after"})"), 200);
}

TEST_F(WebhookTest, TakesTwoTokensDuringRotationAndThenOne) {
  Write(absl::StrCat(kToken, "\n\n  ", kNextToken, "  \n"));
  rereader_.LookNow();
  EXPECT_EQ(Send("POST", kToken, "{}"), 200);
  EXPECT_EQ(Send("POST", kNextToken, "{}"), 200);
  Write(absl::StrCat(kNextToken, "\n"));
  rereader_.LookNow();
  EXPECT_EQ(Send("POST", kToken, "{}"), 404);
  EXPECT_EQ(Send("POST", kNextToken, "{}"), 200);
}

TEST_F(WebhookTest, KeepsItsTokensWhenTheFileTurnsBad) {
  Write("short\n");
  rereader_.LookNow();
  EXPECT_EQ(Send("POST", kToken, "{}"), 200);
  EXPECT_EQ(Send("POST", "short", "{}"), 404);
}

TEST_F(WebhookTest, LosesARevokedTokenAlthoughTheFileCouldNotBeReadAtThatMoment) {
  std::filesystem::remove(path_);
  std::filesystem::create_directory(path_);
  rereader_.LookNow();
  EXPECT_EQ(Send("POST", kToken, "{}"), 200);
  std::filesystem::remove(path_);
  Write(absl::StrCat("\xef\xbb\xbf", kNextToken, "\n"));
  rereader_.LookNow();
  EXPECT_EQ(Send("POST", kToken, "{}"), 404);
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

TEST_F(WebhookTest, AnswersWhileOthersSendNothing) {
  std::vector<int> idle;
  for (int i = 0; i < 50; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(server_->port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    idle.push_back(fd);
  }
  EXPECT_EQ(Send("POST", kToken, "{}"), 200);
  for (int fd : idle) close(fd);
}

TEST(WebhookEvent, FindsIdAndStatusInAnyPlausibleShape) {
  struct Case {
    const char* body;
    const char* id;
    const char* status;
  };
  for (const Case& c : {
           Case{R"({"finetune_id":"a","request_id":"b","status":"S"})", "a", "S"},
           Case{R"({"request_id":"b","event":"E"})", "b", "E"},
           Case{R"({"event_type":"T","data":{"id":"c"}})", "c", "T"},
           Case{R"({"data":{"finetune_id":"d","status":"S"},"type":"x"})", "d", "x"},
           Case{R"([{"id":"e"}])", "e", ""},
           Case{R"({"id":17})", "17", ""},
           Case{R"({"finetune_id":null,"id":"f"})", "f", ""},
       }) {
    auto event = ParseWebhook(c.body);
    ASSERT_TRUE(event.has_value()) << c.body;
    EXPECT_EQ(event->id, c.id);
    EXPECT_EQ(event->status, c.status);
  }
}

TEST(WebhookEvent, IsNothingWithoutAnId) {
  for (const std::string& body :
       {std::string(R"({"a":{"b":{"id":"too deep"}}})"), std::string("{\"id\":{}}"),
        std::string("\xff\xfe"), std::string(100'000, '['), std::string("{\"id\":\"x")})
    EXPECT_FALSE(ParseWebhook(body).has_value());
}

TEST(AdminDoor, ShowsMetricsAndProbes) {
  Metrics metrics;
  metrics.Counter("things_total", "Things.").Increment();
  absl::Status live, ready = absl::UnavailableError("draining");
  AdminDoor door(
      metrics, [] {}, [&] { return live; }, [&] { return ready; });
  EXPECT_THAT(door.Handle({"GET", "/metrics", "", false}).body, HasSubstr("things_total 1"));
  EXPECT_EQ(door.Handle({"GET", "/livez", "", false}).code, 200);
  EXPECT_EQ(door.Handle({"GET", "/readyz", "", false}).code, 503);
  EXPECT_EQ(door.Handle({"GET", "/readyz", "", false}).body, "draining\n");
  EXPECT_EQ(door.Handle({"POST", "/readyz", "", false}).code, 405);
  EXPECT_EQ(door.Handle({"GET", "/", "", false}).code, 404);
}

TEST(HttpServer, SaysWhyItCannotListen) {
  auto first = HttpServer::Start({.host = "127.0.0.1"}, [](auto&) { return WebReply{}; });
  ASSERT_TRUE(first.ok());
  auto second = HttpServer::Start({.host = "127.0.0.1", .port = (*first)->port()},
                                  [](auto&) { return WebReply{}; });
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("Address already in use"));
}

}  // namespace
}  // namespace finetune
