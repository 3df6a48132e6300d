#include "server/web/http_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// Lets bodies through below /body, and answers all else by its head.
class EchoDoor : public WebDoor {
 public:
  std::optional<WebReply> Judge(const WebRequest& request) override {
    judged.push_back(absl::StrCat(std::string(request.method), " ", std::string(request.path)));
    if (request.path.starts_with("/body")) return std::nullopt;
    return WebReply{.code = 404, .body = "not found\n"};
  }
  WebReply Take(const WebRequest& request) override {
    taken.push_back(request.body_too_long ? "too long" : std::string(request.body));
    return {.code = request.body_too_long ? 413 : 200, .body = taken.back()};
  }

  std::vector<std::string> judged, taken;
};

class HttpConnectionTest : public testing::Test {
 protected:
  static constexpr size_t kLimit = 1000;

  // Says `bytes` in pieces of `step`; all that was answered.
  std::string Say(const std::string& bytes, size_t step = std::string::npos) {
    std::string answers;
    std::string_view left = bytes;
    while (!left.empty() && connection_.wants_bytes()) {
      connection_.Take(left.substr(0, step));
      left.remove_prefix(std::min(step, left.size()));
      answers += SendAll();
    }
    return answers;
  }
  std::string SendAll() {
    std::string sent;
    while (!connection_.output().empty()) {
      sent += std::exchange(connection_.output(), "");
      connection_.Sent();
    }
    return sent;
  }

  static std::string Post(const std::string& path, const std::string& body) {
    return absl::StrCat("POST ", path, " HTTP/1.1\r\nHost: a\r\nContent-Length: ", body.size(),
                        "\r\n\r\n", body);
  }

  EchoDoor door_;
  HttpConnection connection_{door_, kLimit};
};

TEST_F(HttpConnectionTest, AnswersOneRequestAfterAnotherHoweverTheBytesCome) {
  const std::string said =
      "\r\n" + Post("/body", "one") + Post("/body", "") + "\r\n" + Post("/body", "three") +
      "POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n" +
      "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
  for (const size_t step : {1, 2, 3, 50, 10'000}) {
    door_ = {};
    const std::string answers = Say(said, step);
    EXPECT_THAT(door_.taken, ElementsAre("one", "", "three", "four")) << step;
    EXPECT_THAT(answers, AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("\r\n\r\nthree"),
                               HasSubstr("HTTP/1.1 404 Not Found")));
    EXPECT_FALSE(connection_.closing());
    EXPECT_TRUE(connection_.idle());
  }
}

TEST_F(HttpConnectionTest, AnswersByTheHeadAndKeepsNothingOfTheBody) {
  const std::string answer =
      Say("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc");
  EXPECT_THAT(answer, AllOf(HasSubstr("404"), HasSubstr("Connection: close")));
  EXPECT_TRUE(connection_.closing());
  EXPECT_FALSE(connection_.wants_bytes());
  EXPECT_THAT(door_.taken, IsEmpty());
}

TEST_F(HttpConnectionTest, RefusesABodyAsSoonAsItIsKnownToBeTooLong) {
  EXPECT_THAT(Say(Post("/body", std::string(kLimit, 'x'))), HasSubstr("200"));
  EXPECT_THAT(Say("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n"),
              HasSubstr("413"));
  EXPECT_TRUE(connection_.closing());
  HttpConnection other(door_, kLimit);
  other.Take("POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n");
  EXPECT_TRUE(other.wants_bytes());
  other.Take(std::string(kLimit + 1, 'x'));
  EXPECT_THAT(other.output(), HasSubstr("413"));
  EXPECT_TRUE(other.closing());
  EXPECT_EQ(door_.taken.back(), "too long");
}

TEST_F(HttpConnectionTest, TakesOneRequestForOne) {
  const std::string answers =
      Say("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length : 33\r\n\r\n"
          "GET /body HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(answers, AllOf(StartsWith("HTTP/1.1 400"), Not(HasSubstr("200"))));
  EXPECT_TRUE(connection_.closing());
  EXPECT_THAT(door_.judged, IsEmpty());
}

TEST_F(HttpConnectionTest, AsksForABodyThatWaitsToBeAskedForUnlessItIsUnwanted) {
  const std::string expect = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
  EXPECT_EQ(Say("POST /body HTTP/1.1\r\n" + expect), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_THAT(Say("abc"), AllOf(HasSubstr("200"), HasSubstr("abc")));
  EXPECT_THAT(Say("POST /x HTTP/1.1\r\n" + expect), StartsWith("HTTP/1.1 404"));
  EXPECT_TRUE(connection_.closing());
}

TEST_F(HttpConnectionTest, SendsNoBodyForHead) {
  const std::string answer = Say("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 10\r\n"));
  EXPECT_THAT(answer, Not(HasSubstr("not found")));
  EXPECT_TRUE(connection_.wants_bytes());
}

TEST_F(HttpConnectionTest, LooksAtTheNextRequestOnlyOnceTheAnswerWasSent) {
  connection_.Take(Post("/body", "1") + Post("/body", "2"));
  EXPECT_THAT(door_.taken, ElementsAre("1"));
  EXPECT_FALSE(connection_.wants_bytes());
  connection_.output().clear();
  connection_.Sent();
  EXPECT_THAT(door_.taken, ElementsAre("1", "2"));
}

class StreamDoor : public WebDoor {
 public:
  class Silent : public WebStream {
    void Begin(std::shared_ptr<WebOutlet>) override {}
    bool Fill(std::string&) override { return true; }
    void Close() override {}
  };
  std::optional<WebReply> Judge(const WebRequest& request) override {
    return WebReply{.body = absl::StrCat(std::string(request.query), " ",
                                         std::string(request.Header("last-event-id"))),
                    .content_type = "text/event-stream",
                    .cache_control = "no-cache",
                    .stream = request.path == "/stream" ? std::make_shared<Silent>() : nullptr};
  }
  WebReply Take(const WebRequest&) override { return {}; }
};

TEST(HttpConnectionStream, HandsAStreamOverAfterAHeadWithoutALength) {
  StreamDoor door;
  HttpConnection connection(door, 1000);
  connection.Take("GET /stream HTTP/1.1\r\nHost: a\r\n\r\nGET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(connection.output(),
              AllOf(HasSubstr("Content-Type: text/event-stream\r\n"),
                    HasSubstr("Cache-Control: no-cache\r\n"), HasSubstr("Connection: close\r\n"),
                    Not(HasSubstr("Content-Length"))));
  EXPECT_TRUE(connection.closing());
  EXPECT_EQ(connection.answered(), 1u);
  EXPECT_NE(connection.TakeStream(), nullptr);
  EXPECT_EQ(connection.TakeStream(), nullptr);
}

TEST(HttpConnectionStream, HasNoneForWhoAsksForTheHead) {
  StreamDoor door;
  HttpConnection connection(door, 1000);
  connection.Take("HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(connection.TakeStream(), nullptr);
}

TEST(HttpConnectionStream, ShowsTheDoorQueryAndHeaders) {
  StreamDoor door;
  HttpConnection connection(door, 1000);
  connection.Take("GET /x?resume=abc HTTP/1.1\r\nHost: a\r\nLast-Event-ID: def\r\n\r\n");
  EXPECT_THAT(connection.output(), HasSubstr("\r\n\r\nresume=abc def"));
}

}  // namespace
}  // namespace finetune
