#include "server/http/curl_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/base/clock.h"
#include "tests/http/raw_server.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Calls by themselves, without the client that runs many at once.
class CurlCallTest : public testing::Test {
 protected:
  CurlCallTest() { EXPECT_TRUE(InitCurl().ok()); }

  static HttpRequest To(const std::string& url) {
    HttpRequest request;
    request.url = url;
    request.deadline = SteadyNow() + absl::Seconds(20);
    return request;
  }
  static absl::Status Prepare(CurlCall& call) {
    CurlCallOptions options{.curl = {.user_agent = "test", .use_environment_proxy = false},
                            .max_connection_age = absl::Minutes(1)};
    options.curl.connect_timeout = absl::Seconds(10);
    return call.Prepare(options, nullptr);
  }
  static HttpResult Run(HttpRequest request) {
    CurlCall call(std::move(request));
    if (absl::Status status = Prepare(call); !status.ok()) return call.Failed(std::move(status));
    return call.Completed(curl_easy_perform(call.handle()));
  }
};

TEST_F(CurlCallTest, WhatCannotBeSentIsRefusedAndWasNotSent) {
  HttpRequest bad_header = To("http://127.0.0.1:1/");
  bad_header.headers = {{"x", "a\r\ny: b"}};
  HttpRequest late = To("http://127.0.0.1:1/");
  late.deadline = SteadyNow();
  for (auto& [request, code] : std::vector<std::pair<HttpRequest, absl::StatusCode>>{
           {To("nonsense"), absl::StatusCode::kInvalidArgument},
           {bad_header, absl::StatusCode::kInvalidArgument},
           {late, absl::StatusCode::kDeadlineExceeded}}) {
    const HttpResult result = Run(request);
    EXPECT_EQ(result.status.code(), code) << result.status;
    EXPECT_FALSE(result.sent);
  }
}

TEST_F(CurlCallTest, NobodyThereMeansThatNothingWasSent) {
  const int port = UnusedPort();
  const HttpResult result = Run(To("http://127.0.0.1:" + std::to_string(port) + "/secret-path"));
  EXPECT_EQ(result.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(result.status.message()), HasSubstr(std::to_string(port)));
  EXPECT_THAT(std::string(result.status.message()), Not(HasSubstr("secret-path")));
  EXPECT_FALSE(result.sent);
}

TEST_F(CurlCallTest, AConnectionThatEndsWithoutAnAnswerMayHaveCarriedTheRequest) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Close();
  });
  const HttpResult result = Run(To(server.url()));
  EXPECT_EQ(result.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(result.sent);
}

TEST_F(CurlCallTest, IsAskedForTheLastTimeBeforeTheFirstByte) {
  std::string seen;
  {
    RawServer server([&](RawConnection& connection) { seen = connection.ReadRequest(); });
    HttpRequest request = To(server.url());
    request.fresh_connection = true;
    request.may_send = [] { return false; };
    const HttpResult result = Run(std::move(request));
    EXPECT_EQ(result.status.code(), absl::StatusCode::kAborted);
    EXPECT_FALSE(result.sent);
  }
  EXPECT_EQ(seen, "");
}

TEST_F(CurlCallTest, AnAnswerMayBeAsLongAsTheLimitAndNoLonger) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Answer(200, std::string(1'000, 'x'));
  });
  HttpRequest exact = To(server.url());
  exact.max_body_bytes = 1'000;
  const HttpResult whole = Run(std::move(exact));
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  EXPECT_EQ(whole.response.body.size(), 1'000);
  HttpRequest shorter = To(server.url());
  shorter.max_body_bytes = 999;
  const HttpResult result = Run(std::move(shorter));
  EXPECT_EQ(result.status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(result.status.message()), HasSubstr("999"));
  EXPECT_TRUE(result.sent);
}

TEST_F(CurlCallTest, APostWithoutABodySaysThatItHasNone) {
  std::string seen;
  RawServer server([&](RawConnection& connection) {
    seen = connection.ReadRequest();
    connection.Answer(204, "");
  });
  HttpRequest request = To(server.url());
  request.method = "POST";
  EXPECT_EQ(Run(std::move(request)).response.code, 204);
  EXPECT_THAT(seen, HasSubstr("POST / HTTP/1.1\r\n"));
  EXPECT_THAT(seen, HasSubstr("\r\nContent-Length: 0\r\n"));
}

TEST_F(CurlCallTest, AHeadWaitsForNoBody) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    connection.AwaitEnd();
  });
  HttpRequest request = To(server.url());
  request.method = "HEAD";
  const HttpResult result = Run(std::move(request));
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.response.Header("content-length"), "1000");
  EXPECT_EQ(result.response.body, "");
}

}  // namespace
}  // namespace finetune
