#include "server/http/curl_http_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "tests/base/notification.h"
#include "tests/http/raw_server.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Curl : public ::testing::Test {
 protected:
  Curl() {
    auto client = CurlHttpClient::Create({.use_environment_proxy = false});
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }

  static HttpRequest To(const std::string& url, absl::Duration patience = absl::Seconds(20)) {
    HttpRequest request;
    request.url = url;
    request.deadline = absl::Now() + patience;
    return request;
  }
  std::future<HttpResult> Start(HttpRequest request) {
    auto promise = std::make_shared<std::promise<HttpResult>>();
    client_->Start(std::move(request),
                   [promise](HttpResult result) { promise->set_value(std::move(result)); });
    return promise->get_future();
  }
  HttpResult Call(HttpRequest request) { return Start(std::move(request)).get(); }

  std::unique_ptr<CurlHttpClient> client_;
};

TEST_F(Curl, BringsCodeHeadersAndBody) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Answer(418, "short and stout",
                      "X-Request-Id:  r-1 \r\nContent-Type: text/plain\r\n");
  });
  const HttpResult result = Call(To(server.url() + "/pot"));
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.response.code, 418);
  EXPECT_EQ(result.response.body, "short and stout");
  EXPECT_EQ(result.response.Header("x-request-id"), "r-1");
  EXPECT_EQ(result.response.Header("missing"), "");
  EXPECT_TRUE(result.sent);
  EXPECT_LE(result.start_time, absl::Now());
}

TEST_F(Curl, SendsABodyOnAGetWithItsHeadersAndTheSecretOne) {
  std::string seen;
  RawServer server([&](RawConnection& connection) {
    seen = connection.ReadRequest();
    connection.Answer(200, "{}");
  });
  HttpRequest request = To(server.url() + "/finetune/request/details");
  request.headers = {{"Content-Type", "application/json"}};
  request.secret_headers = {{"x-api-key", Secret("SG_key")}};
  request.body = R"({"request_id":"x"})";
  ASSERT_TRUE(Call(std::move(request)).status.ok());
  EXPECT_THAT(seen, StartsWith("GET /finetune/request/details HTTP/1.1\r\n"));
  EXPECT_THAT(seen, HasSubstr("\r\nContent-Type: application/json\r\n"));
  EXPECT_THAT(seen, HasSubstr("\r\nx-api-key: SG_key\r\n"));
  EXPECT_THAT(seen, HasSubstr("\r\nContent-Length: 18\r\n"));
  EXPECT_THAT(seen, HasSubstr("\r\nUser-Agent: segmind-finetune-gateway/"));
  EXPECT_THAT(seen, testing::EndsWith("\r\n\r\n{\"request_id\":\"x\"}"));
}

TEST_F(Curl, SendsAFormAsMultipartOnAPut) {
  std::string seen;
  RawServer server([&](RawConnection& connection) {
    seen = connection.ReadRequest();
    connection.Answer(200, "200");
  });
  HttpRequest request = To(server.url() + "/access");
  request.method = "PUT";
  request.form = {{"request_id", "x"}, {"segmind_public", "True"}};
  ASSERT_TRUE(Call(std::move(request)).status.ok());
  EXPECT_THAT(seen, StartsWith("PUT /access HTTP/1.1\r\n"));
  EXPECT_THAT(seen, HasSubstr("Content-Type: multipart/form-data; boundary="));
  EXPECT_THAT(seen, HasSubstr("name=\"request_id\"\r\n\r\nx\r\n"));
  EXPECT_THAT(seen, HasSubstr("name=\"segmind_public\"\r\n\r\nTrue\r\n"));
  EXPECT_THAT(seen, HasSubstr("\r\nContent-Length: "));
  EXPECT_THAT(seen, Not(HasSubstr("Expect:")));
}

TEST_F(Curl, SendsAPostWithALargeBodyAtOnce) {
  std::string seen;
  RawServer server([&](RawConnection& connection) {
    seen = connection.ReadRequest();
    connection.Answer(200, "");
  });
  HttpRequest request = To(server.url());
  request.method = "POST";
  request.body = std::string(3 << 20, 'b');
  ASSERT_TRUE(Call(std::move(request)).status.ok());
  EXPECT_THAT(seen, StartsWith("POST / "));
  EXPECT_THAT(seen.substr(0, 1000), Not(HasSubstr("Expect:")));
  EXPECT_GT(seen.size(), 3 << 20);
}

TEST_F(Curl, KeepsAConnectionForTheNextCall) {
  RawServer server([](RawConnection& connection) {
    while (!connection.ReadRequest().empty()) connection.Answer(200, "ok");
  });
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(Call(To(server.url())).status.ok());
  EXPECT_EQ(server.connections(), 1);
  HttpRequest fresh = To(server.url());
  fresh.fresh_connection = true;
  ASSERT_TRUE(Call(std::move(fresh)).status.ok());
  EXPECT_EQ(server.connections(), 2);
}

TEST_F(Curl, MakesManyCallsAtOnce) {
  RawServer server([](RawConnection& connection) {
    while (!connection.ReadRequest().empty()) connection.Answer(200, std::string(100'000, 'x'));
  });
  std::vector<std::future<HttpResult>> calls;
  for (int i = 0; i < 200; ++i) calls.push_back(Start(To(server.url())));
  for (auto& call : calls) EXPECT_EQ(call.get().response.body.size(), 100'000);
  EXPECT_LE(server.connections(), 8);
}

TEST_F(Curl, PromisesThatNothingWasSentWhereNobodyListens) {
  const HttpResult result = Call(To("http://127.0.0.1:" + std::to_string(UnusedPort())));
  EXPECT_TRUE(absl::IsUnavailable(result.status)) << result.status;
  EXPECT_FALSE(result.sent);
}

TEST_F(Curl, TakesNothingOfACallIntoTheNextOne) {
  std::vector<std::string> seen;
  RawServer server([&seen](RawConnection& connection) {
    std::string request;
    while (!(request = connection.ReadRequest()).empty()) {
      seen.push_back(request);
      connection.Answer(seen.size() == 1 ? 500 : 200, "ok");
    }
  });
  HttpRequest first = To(server.url() + "/first");
  first.method = "POST";
  first.headers = {{"x-first", "1"}};
  first.secret_headers = {{"x-api-key", Secret("SG_first")}};
  first.body = "{\"first\":1}";
  ASSERT_EQ(Call(std::move(first)).response.code, 500);
  ASSERT_EQ(Call(To(server.url() + "/second")).response.code, 200);
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_THAT(seen[1], StartsWith("GET /second "));
  EXPECT_THAT(seen[1], Not(HasSubstr("first")));
  EXPECT_THAT(seen[1], Not(HasSubstr("Content-Length")));
  // Nor what became of it: nothing of this one is sent.
  const HttpResult lost = Call(To("http://127.0.0.1:" + std::to_string(UnusedPort())));
  EXPECT_FALSE(lost.status.ok());
  EXPECT_FALSE(lost.sent);
  EXPECT_EQ(lost.response.code, 0);
}

TEST_F(Curl, PromisesThatNothingWasSentWhereTheNameIsUnknownOrTlsFails) {
  HttpResult result = Call(To("http://no-such-host.invalid/"));
  EXPECT_FALSE(result.status.ok());
  EXPECT_FALSE(result.sent);
  RawServer server([](RawConnection& connection) {
    connection.Send("this is not TLS\r\n\r\n");
    connection.AwaitEnd();
  });
  std::string url = server.url();
  url.replace(0, 4, "https");
  result = Call(To(url));
  EXPECT_TRUE(absl::IsUnavailable(result.status)) << result.status;
  EXPECT_FALSE(result.sent);
}

TEST_F(Curl, CountsALostAnswerAsSent) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Close();
  });
  const HttpResult result = Call(To(server.url()));
  EXPECT_TRUE(absl::IsUnavailable(result.status)) << result.status;
  EXPECT_TRUE(result.sent);
}

TEST_F(Curl, CountsAResetAsSent) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Reset();
  });
  const HttpResult result = Call(To(server.url()));
  EXPECT_TRUE(absl::IsUnavailable(result.status)) << result.status;
  EXPECT_TRUE(result.sent);
}

TEST_F(Curl, CountsASilentServerAsSentAndKeepsTheDeadline) {
  RawServer server([](RawConnection& connection) { connection.AwaitEnd(); });
  const HttpResult result = Call(To(server.url(), absl::Milliseconds(150)));
  EXPECT_TRUE(absl::IsDeadlineExceeded(result.status)) << result.status;
  EXPECT_TRUE(result.sent);
}

TEST_F(Curl, GivesUpOnASlowAnswerAtTheDeadline) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nfirst bytes");
    connection.AwaitEnd();
  });
  const HttpResult result = Call(To(server.url(), absl::Milliseconds(150)));
  EXPECT_TRUE(absl::IsDeadlineExceeded(result.status)) << result.status;
  EXPECT_TRUE(result.sent);
}

TEST_F(Curl, SendsNothingAfterTheDeadline) {
  RawServer server([](RawConnection& connection) { connection.AwaitEnd(); });
  const HttpResult result = Call(To(server.url(), absl::Seconds(-1)));
  EXPECT_TRUE(absl::IsDeadlineExceeded(result.status));
  EXPECT_FALSE(result.sent);
  EXPECT_EQ(server.connections(), 0);
}

TEST_F(Curl, TellsABodyThatIsCutShort) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
  });
  const HttpResult result = Call(To(server.url()));
  EXPECT_TRUE(absl::IsDataLoss(result.status)) << result.status;
  EXPECT_TRUE(result.sent);
}

TEST_F(Curl, TellsAChunkedBodyThatIsCutShort) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  });
  const HttpResult result = Call(To(server.url()));
  EXPECT_FALSE(result.status.ok());
  EXPECT_TRUE(result.sent);
}

TEST_F(Curl, UnpacksABodyThatNobodyAskedToBePacked) {
  // What `printf hello | gzip -n` writes.
  static constexpr char kPacked[] =
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcb\x48\xcd\xc9\xc9\x07\x00\x86\xa6\x10\x36\x05\x00"
      "\x00\x00";
  std::string seen;
  RawServer server([&](RawConnection& connection) {
    seen = connection.ReadRequest();
    connection.Answer(200, std::string(kPacked, sizeof(kPacked) - 1), "Content-Encoding: gzip\r\n");
  });
  const HttpResult result = Call(To(server.url()));
  EXPECT_EQ(result.response.body, "hello") << result.status;
  EXPECT_THAT(seen, HasSubstr("Accept-Encoding: identity\r\n"));
}

TEST_F(Curl, EndsHeadersThatGoOnForEver) {
  for (const std::string& start :
       {std::string("HTTP/1.1 200 OK\r\n"), std::string("HTTP/1.1 103 Early Hints\r\n"),
        std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")}) {
    size_t sent = 0;
    const std::string more = start.find("103") != std::string::npos
                                 ? "A: b\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
                                 : "X-More: " + std::string(500, 'x') + "\r\n";
    {
      RawServer server([&](RawConnection& connection) {
        connection.ReadRequest();
        if (!connection.Send(start)) return;
        while (sent < (size_t{64} << 20) && connection.Send(more)) sent += more.size();
      });
      const HttpResult result = Call(To(server.url()));
      EXPECT_EQ(result.status.code(), absl::StatusCode::kResourceExhausted) << start;
      EXPECT_TRUE(result.sent);
    }
    // What is in flight when it is cut is the network's.
    EXPECT_LT(sent, size_t{32} << 20) << start;
  }
}

// A zlib stream of `blocks` stored blocks without content: it unpacks to nothing, for ever.
std::string EmptyBlocks(size_t blocks) {
  std::string stream = "\x78\x01";
  for (size_t i = 0; i < blocks; ++i) stream += std::string("\0\0\0\xff\xff", 5);
  return stream;
}

TEST_F(Curl, BoundsWhatIsPackedAndWhatItUnpacksTo) {
  const std::string nothing = EmptyBlocks(20'000);
  RawServer server([&](RawConnection& connection) {
    while (!connection.ReadRequest().empty())
      connection.Answer(200, nothing, "Content-Encoding: deflate\r\n");
  });
  HttpRequest request = To(server.url());
  request.max_body_bytes = 50'000;
  EXPECT_EQ(Call(request).status.code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(Curl, EndsACallThatIsCancelledAtOnce) {
  std::promise<void> asked;
  RawServer server([&](RawConnection& connection) {
    connection.ReadRequest();
    asked.set_value();
    connection.AwaitEnd();
  });
  auto cancellation = std::make_shared<Cancellation>();
  HttpRequest request = To(server.url(), absl::Seconds(60));
  request.cancellation = cancellation;
  std::future<HttpResult> result = Start(request);
  asked.get_future().wait();
  cancellation->Cancel();
  EXPECT_TRUE(absl::IsCancelled(result.get().status));
  // Too late to begin.
  const HttpResult late = Call(request);
  EXPECT_TRUE(absl::IsCancelled(late.status));
  EXPECT_FALSE(late.sent);
  // It may outlive the client.
  auto longer = std::make_shared<Cancellation>();
  request.cancellation = longer;
  asked = {};
  result = Start(request);
  client_ = nullptr;
  EXPECT_TRUE(absl::IsCancelled(result.get().status));
  longer->Cancel();
}

TEST_F(Curl, NamesTheHostThatCannotBeReached) {
  const int port = UnusedPort();
  const absl::Status status = Call(To("http://127.0.0.1:" + std::to_string(port) + "/x?y")).status;
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("127.0.0.1:" + std::to_string(port)));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("?y")));
}

TEST_F(Curl, RefusesABodyThatIsTooLong) {
  RawServer server([](RawConnection& connection) {
    while (!connection.ReadRequest().empty()) connection.Answer(200, std::string(1001, 'x'));
  });
  HttpRequest request = To(server.url());
  request.max_body_bytes = 1000;
  HttpResult result = Call(request);
  EXPECT_TRUE(absl::IsResourceExhausted(result.status)) << result.status;
  request.max_body_bytes = 1001;
  result = Call(request);
  EXPECT_EQ(result.response.body.size(), 1001);
}

TEST_F(Curl, FollowsNoRedirect) {
  RawServer server([](RawConnection& connection) {
    while (!connection.ReadRequest().empty())
      connection.Answer(302, "", "Location: /elsewhere\r\n");
  });
  EXPECT_EQ(Call(To(server.url())).response.code, 302);
}

TEST_F(Curl, SpeaksNothingButHttpAndSendsNoBrokenHeader) {
  for (const char* url : {"file:///etc/passwd", "ftp://127.0.0.1/", "", "http://", "not a url"}) {
    const HttpResult result = Call(To(url));
    EXPECT_FALSE(result.status.ok()) << url;
    EXPECT_FALSE(result.sent) << url;
  }
  RawServer server([](RawConnection& connection) { connection.AwaitEnd(); });
  HttpRequest request = To(server.url());
  request.headers = {{"X-Evil", "a\r\nX-Other: b"}};
  const HttpResult result = Call(std::move(request));
  EXPECT_TRUE(absl::IsInvalidArgument(result.status));
  EXPECT_FALSE(result.sent);
}

// What curl does by itself for a request on a kept connection that has just died: it sends it again
// on a new one. For reads that is welcome.
TEST_F(Curl, SendsAReadAgainWhenTheKeptConnectionDied) {
  std::atomic<int> requests = 0;
  RawServer server([&](RawConnection& connection) {
    connection.ReadRequest();
    ++requests;
    connection.Answer(200, "ok");
    // The next one on this connection is lost.
    if (!connection.ReadRequest().empty()) ++requests;
    connection.Close();
  });
  ASSERT_TRUE(Call(To(server.url())).status.ok());
  EXPECT_TRUE(Call(To(server.url())).status.ok());
  EXPECT_EQ(requests, 3);
}

TEST_F(Curl, NeverSendsASubmitAgainWhenAConnectionDied) {
  std::atomic<int> submits = 0;
  RawServer server([&](RawConnection& connection) {
    for (std::string request; !(request = connection.ReadRequest()).empty();) {
      if (request.substr(0, 4) == "POST") {
        ++submits;
        return connection.Close();
      }
      connection.Answer(200, "ok");
    }
  });
  for (int i = 1; i <= 20; ++i) {
    // There is a kept connection that a submit could be put on.
    ASSERT_TRUE(Call(To(server.url())).status.ok());
    HttpRequest submit = To(server.url());
    submit.method = "POST";
    submit.body = "{}";
    submit.fresh_connection = true;
    const HttpResult result = Call(std::move(submit));
    EXPECT_FALSE(result.status.ok());
    EXPECT_TRUE(result.sent);
    ASSERT_EQ(submits, i);
  }
}

TEST_F(Curl, SendsNothingIfItMayNotOnceTheConnectionStands) {
  std::atomic<int> requests = 0;
  RawServer server([&](RawConnection& connection) {
    if (connection.ReadRequest().empty()) return;
    ++requests;
    connection.Answer(200, "ok");
  });
  const auto post = [&](std::function<bool()> may_send) {
    HttpRequest submit = To(server.url());
    submit.method = "POST";
    submit.body = "{}";
    submit.fresh_connection = true;
    submit.may_send = std::move(may_send);
    return Call(std::move(submit));
  };
  const HttpResult refused = post([] { return false; });
  EXPECT_TRUE(absl::IsAborted(refused.status)) << refused.status;
  EXPECT_FALSE(refused.sent);
  EXPECT_TRUE(post([] { return true; }).status.ok());
  EXPECT_EQ(requests, 1);
}

TEST_F(Curl, CancelsWhatIsUnderWayOnShutdownAndWhatComesLater) {
  Notification arrived;
  RawServer server([&](RawConnection& connection) {
    connection.ReadRequest();
    arrived.Notify();
    connection.AwaitEnd();
  });
  std::future<HttpResult> call = Start(To(server.url()));
  arrived.WaitForNotification();
  client_->Shutdown();
  HttpResult result = call.get();
  EXPECT_TRUE(absl::IsCancelled(result.status));
  EXPECT_TRUE(result.sent);
  result = Call(To(server.url()));
  EXPECT_TRUE(absl::IsCancelled(result.status));
  EXPECT_FALSE(result.sent);
  client_->Shutdown();
}

TEST_F(Curl, LetsACallbackStartTheNextCall) {
  RawServer server([](RawConnection& connection) {
    while (!connection.ReadRequest().empty()) connection.Answer(200, "ok");
  });
  std::promise<int> code;
  client_->Start(To(server.url()), [&](HttpResult) {
    client_->Start(To(server.url()),
                   [&](HttpResult result) { code.set_value(result.response.code); });
  });
  EXPECT_EQ(code.get_future().get(), 200);
}

TEST_F(Curl, NeverShowsUrlOrKeyInAnError) {
  HttpRequest request =
      To("http://127.0.0.1:" + std::to_string(UnusedPort()) + "/x?X-Amz-Signature=secret");
  request.secret_headers = {{"x-api-key", Secret("SG_key")}};
  const HttpResult result = Call(std::move(request));
  EXPECT_THAT(std::string(result.status.message()), Not(HasSubstr("secret")));
  EXPECT_THAT(std::string(result.status.message()), Not(HasSubstr("SG_key")));
}

TEST(CurlHttpClient, NeedsTheCaFileItIsGiven) {
  const auto client = CurlHttpClient::Create({.ca_file = "/no/such/file.pem"});
  EXPECT_TRUE(absl::IsInvalidArgument(client.status()));
}

}  // namespace
}  // namespace finetune
