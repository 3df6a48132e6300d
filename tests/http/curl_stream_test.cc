#include "server/http/curl_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "tests/http/raw_server.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

class Listener : public HttpStreamListener {
 public:
  void OnHead(const HttpResponse& head) override { codes.push_back(head.code); }
  bool OnData(std::string_view bytes) override {
    received.append(bytes);
    return true;
  }
  void OnDry() override { ++dry; }
  size_t OnSend(char* to, size_t room) override {
    const size_t take = body.copy(to, room);
    body.erase(0, take);
    return take;
  }
  void OnEnd(absl::Status) override {}

  std::vector<int> codes;
  std::string received;
  std::string body;
  int dry = 0;
};

// Streams by themselves, without the streamer that runs many at once.
class CurlStreamTest : public testing::Test {
 protected:
  CurlStreamTest() { EXPECT_TRUE(InitCurl().ok()); }

  void Open(const std::string& url, StreamRequest request = {}) {
    request_ = std::move(request);
    request_.deadline = SteadyNow() + absl::Seconds(20);
    url_ = std::make_unique<Url>(Url::Parse(url).value());
    stream_ = std::make_unique<CurlStream>(request_, *url_, listener_);
  }
  absl::Status Prepare(const std::vector<std::string>& hosts) {
    CurlOptions options{.user_agent = "test", .use_environment_proxy = false};
    options.connect_timeout = absl::Seconds(10);
    return stream_->Prepare(options,
                            AddressPolicy::Create(hosts, "https://api.segmind.com").value());
  }
  absl::Status Run() {
    if (absl::Status status = Prepare({"127.0.0.1"}); !status.ok()) return status;
    return stream_->StatusOf(curl_easy_perform(stream_->handle()));
  }

  Listener listener_;
  StreamRequest request_;
  std::unique_ptr<Url> url_;
  std::unique_ptr<CurlStream> stream_;
};

TEST_F(CurlStreamTest, GoesOnlyWhereThePolicyLetsIt) {
  Open("http://127.0.0.1:1/");
  EXPECT_EQ(Prepare({"storage.example"}).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(stream_->handle(), nullptr);
}

TEST_F(CurlStreamTest, BringsTheHeadAndThenTheBody) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Answer(206, "weights");
  });
  Open(server.url());
  ASSERT_TRUE(Run().ok());
  EXPECT_THAT(listener_.codes, testing::ElementsAre(206));
  EXPECT_EQ(listener_.received, "weights");
  EXPECT_EQ(stream_->code(), 206);
}

TEST_F(CurlStreamTest, AnAnswerThatIsNoneIsUnavailable) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Close();
  });
  Open(server.url());
  EXPECT_EQ(Run().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(listener_.codes, testing::IsEmpty());
}

TEST_F(CurlStreamTest, ARedirectIsFollowedOnlyIfItIsAskedForAndItsPageIsNoBody) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Answer(302, "moved", "Location: /elsewhere?x=1\r\n");
  });
  Open(server.url() + "/here");
  ASSERT_TRUE(Run().ok());
  EXPECT_FALSE(stream_->redirected());
  EXPECT_EQ(listener_.received, "moved");
  listener_ = {};
  Open(server.url() + "/here", {.follow_redirects = true});
  (void)Run();
  EXPECT_TRUE(stream_->redirected());
  EXPECT_EQ(listener_.received, "");
  EXPECT_THAT(listener_.codes, testing::IsEmpty());
  const auto next = stream_->RedirectUrl();
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(next->text(), server.url() + "/elsewhere?x=1");
}

TEST_F(CurlStreamTest, ARedirectToNowhereSaysSo) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Answer(302, "", "Location: ftp://files.example/\r\n");
  });
  Open(server.url(), {.follow_redirects = true});
  (void)Run();
  ASSERT_TRUE(stream_->redirected());
  const absl::Status status = stream_->RedirectUrl().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("redirected"));
}

TEST_F(CurlStreamTest, APutSendsItsBodyWithItsLengthAndWithoutWaitingForAWord) {
  std::string seen;
  {
    RawServer server([&](RawConnection& connection) {
      seen = connection.ReadRequest();
      connection.Answer(200, "");
    });
    listener_.body = "dataset";
    Open(server.url(), {.method = "PUT", .body_size = 7});
    ASSERT_TRUE(Run().ok());
  }
  EXPECT_THAT(seen, HasSubstr("\r\nContent-Length: 7\r\n"));
  EXPECT_THAT(seen, testing::Not(HasSubstr("Expect:")));
  EXPECT_THAT(seen, testing::EndsWith("\r\n\r\ndataset"));
}

TEST_F(CurlStreamTest, SaysOnceThatNoMoreBytesCome) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Answer(200, "weights");
  });
  Open(server.url());
  EXPECT_FALSE(stream_->EndRound());
  ASSERT_TRUE(Run().ok());
  EXPECT_TRUE(stream_->EndRound());
  EXPECT_EQ(listener_.dry, 0);
  EXPECT_FALSE(stream_->EndRound());
  EXPECT_FALSE(stream_->EndRound());
  EXPECT_EQ(listener_.dry, 1);
}

}  // namespace
}  // namespace finetune
