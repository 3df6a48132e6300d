#include "server/http/curl_streamer.h"

#include <gtest/gtest.h>

#include <future>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/mutex.h"
#include "tests/http/raw_server.h"

namespace finetune {
namespace {

// Takes what comes, up to `room` bytes, and sends `body`, up to `released` bytes.
class QueueListener : public HttpStreamListener {
 public:
  explicit QueueListener(size_t room = SIZE_MAX) : room_(room) {}

  void OnHead(const HttpResponse& head) override { code = head.code; }
  bool OnData(std::string_view bytes) override {
    MutexLock lock(mu_);
    if (received_.size() + bytes.size() > room_) {
      ++pauses_;
      changed_.NotifyAll();
      return false;
    }
    received_.append(bytes);
    return true;
  }
  size_t OnSend(char* to, size_t room) override {
    MutexLock lock(mu_);
    const size_t take = std::min(room, released_ - sent_);
    body_.copy(to, take, sent_);
    sent_ += take;
    if (take == 0) ++pauses_;
    changed_.NotifyAll();
    return take;
  }
  void OnDry() override {
    MutexLock lock(mu_);
    ++dry_;
    changed_.NotifyAll();
  }
  void OnEnd(absl::Status status) override { ended_.set_value(std::move(status)); }

  void Give(std::string bytes) {
    MutexLock lock(mu_);
    body_ += bytes;
    released_ = body_.size();
  }
  void MakeRoom() {
    MutexLock lock(mu_);
    room_ = SIZE_MAX;
  }
  void AwaitPause() {
    MutexLock lock(mu_);
    while (pauses_ == 0) changed_.Wait(mu_);
    pauses_ = 0;
  }
  void AwaitDry(int times) {
    MutexLock lock(mu_);
    while (dry_ < times) changed_.Wait(mu_);
  }
  absl::Status Ended() { return ended_.get_future().get(); }
  std::string received() {
    MutexLock lock(mu_);
    return received_;
  }

  size_t sent() {
    MutexLock lock(mu_);
    return sent_;
  }

  int code = 0;  // Once it ended.

 private:
  Mutex mu_;
  CondVar changed_;
  size_t room_ ABSL_GUARDED_BY(mu_);
  std::string received_ ABSL_GUARDED_BY(mu_);
  std::string body_ ABSL_GUARDED_BY(mu_);
  size_t released_ ABSL_GUARDED_BY(mu_) = 0;
  size_t sent_ ABSL_GUARDED_BY(mu_) = 0;
  int pauses_ ABSL_GUARDED_BY(mu_) = 0;
  int dry_ ABSL_GUARDED_BY(mu_) = 0;
  std::promise<absl::Status> ended_;
};

std::unique_ptr<CurlStreamer> StreamerFor(const std::string& url,
                                          std::vector<std::string> hosts = {}) {
  return *CurlStreamer::Create({.max_redirects = 3, .use_environment_proxy = false},
                               *AddressPolicy::Create(hosts, url));
}

StreamRequest Get(const std::string& url) { return {.url = Secret(url), .follow_redirects = true}; }

TEST(CurlStreamer, PausesTheSourceUntilThereIsRoom) {
  const std::string body(8 << 20, 'w');
  RawServer server([&](RawConnection& connection) {
    connection.ReadRequest();
    connection.Answer(200, body);
  });
  auto streamer = StreamerFor(server.url());
  auto listener = std::make_shared<QueueListener>(1 << 20);
  auto stream = streamer->Start(Get(server.url()), listener);
  listener->AwaitPause();
  EXPECT_LE(listener->received().size(), size_t{1} << 20);
  listener->MakeRoom();
  stream->Resume();
  EXPECT_TRUE(listener->Ended().ok());
  EXPECT_EQ(listener->code, 200);
  EXPECT_EQ(listener->received(), body);
}

TEST(CurlStreamer, TellsWhenNoMoreComes) {
  auto listener = std::make_shared<QueueListener>();
  RawServer server([&](RawConnection& connection) {
    connection.ReadRequest();
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none");
    listener->AwaitDry(1);
    EXPECT_EQ(listener->received(), "one");
    connection.Send("two");
  });
  auto streamer = StreamerFor(server.url());
  streamer->Start(Get(server.url()), listener);
  EXPECT_TRUE(listener->Ended().ok());
  EXPECT_EQ(listener->received(), "onetwo");
}

TEST(CurlStreamer, SendsABodyAsItComesWithExactlyTheHeadersAndTheLength) {
  std::string seen;
  RawServer server([&](RawConnection& connection) {
    seen = connection.ReadRequest();
    connection.Answer(200, "");
  });
  auto streamer = StreamerFor(server.url());
  auto listener = std::make_shared<QueueListener>();
  auto stream = streamer->Start({.method = "PUT",
                                 .url = Secret(server.url() + "/x"),
                                 .headers = {{"Content-Type", "application/zip"}},
                                 .body_size = 10},
                                listener);
  listener->AwaitPause();
  listener->Give("01234");
  stream->Resume();
  listener->AwaitPause();
  listener->Give("56789");
  stream->Resume();
  EXPECT_TRUE(listener->Ended().ok());
  EXPECT_TRUE(absl::StrContains(seen, "Content-Length: 10\r\n")) << seen;
  EXPECT_TRUE(absl::EndsWith(seen, "\r\n\r\n0123456789")) << seen;
  for (const char* header : {"expect", "transfer-encoding", "x-api-key"})
    EXPECT_FALSE(absl::StrContains(absl::AsciiStrToLower(seen), header)) << seen;
}

TEST(CurlStreamer, SendsNothingThatIsRefusedWhenItAsksFirst) {
  std::string head;
  RawServer server([&](RawConnection& connection) {
    head = connection.ReadHead();
    connection.Answer(403, "no", "Connection: close\r\n");
  });
  auto streamer = StreamerFor(server.url());
  auto listener = std::make_shared<QueueListener>();
  listener->Give(std::string(5 << 20, 'z'));
  streamer->Start(
      {.method = "PUT", .url = Secret(server.url()), .body_size = 5 << 20, .ask_first = true},
      listener);
  EXPECT_TRUE(listener->Ended().ok());
  EXPECT_EQ(listener->code, 403);
  EXPECT_EQ(listener->sent(), 0u);
  EXPECT_TRUE(absl::StrContains(head, "Expect: 100-continue"));
}

TEST(CurlStreamer, SendsAfterAWhileWhatNobodySpokeOf) {
  std::string seen;
  RawServer server([&](RawConnection& connection) {
    seen = connection.ReadRequest();
    connection.Answer(200, "");
  });
  auto streamer = StreamerFor(server.url());
  auto listener = std::make_shared<QueueListener>();
  listener->Give("body");
  streamer->Start({.method = "PUT", .url = Secret(server.url()), .body_size = 4, .ask_first = true},
                  listener);
  EXPECT_TRUE(listener->Ended().ok());
  EXPECT_TRUE(absl::EndsWith(seen, "body"));
}

TEST(CurlStreamer, FollowsRedirectsToAllowedHostsOnly) {
  RawServer other([](RawConnection& connection) {
    connection.ReadRequest();
    connection.Answer(200, "not for us");
  });
  std::string target;
  RawServer server([&](RawConnection& connection) {
    while (true) {
      const std::string request = connection.ReadRequest();
      if (request.empty()) return;
      if (absl::StartsWith(request, "GET /there"))
        connection.Answer(200, "here");
      else
        connection.Answer(302, "<html>moved</html>", "Location: " + target + "\r\n");
    }
  });
  auto streamer = StreamerFor(server.url());
  const auto fetch = [&](const std::string& to) {
    target = to;
    auto listener = std::make_shared<QueueListener>();
    streamer->Start(Get(server.url() + "/first?secret=1"), listener);
    return std::make_pair(listener->Ended(), listener->received());
  };
  EXPECT_EQ(fetch("/there").second, "here");
  EXPECT_EQ(fetch(server.url() + "/there").second, "here");
  for (const std::string& to :
       {other.url(), std::string("http://169.254.169.254/latest"),
        std::string("file:///etc/passwd"), std::string("https://example.com/")}) {
    const auto [status, body] = fetch(to);
    EXPECT_FALSE(status.ok()) << to;
    EXPECT_EQ(body, "");
    EXPECT_FALSE(absl::StrContains(status.message(), "secret"));
  }
  EXPECT_EQ(other.connections(), 0);
  EXPECT_FALSE(fetch("/first").first.ok()) << "a circle";
}

TEST(CurlStreamer, ChecksTheAddressOfTheSocket) {
  RawServer server([](RawConnection& connection) { connection.ReadRequest(); });
  const std::string port = server.url().substr(server.url().rfind(':'));
  // Allowed by name, with an address that only DNS knows.
  auto streamer = StreamerFor("https://api.segmind.com");
  auto listener = std::make_shared<QueueListener>();
  streamer->Start(
      {.method = "HEAD", .url = Secret("http://localhost" + port + "/"), .foreign = true},
      listener);
  const absl::Status status = listener->Ended();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
  EXPECT_EQ(server.connections(), 0);
}

TEST(CurlStreamer, FollowsLocationsAsBrowsersDoOrSaysWhyNot) {
  std::string location;
  std::string asked;
  RawServer server([&](RawConnection& connection) {
    while (true) {
      const std::string request = connection.ReadRequest();
      if (request.empty()) return;
      if (absl::StartsWith(request, "GET / ")) {
        connection.Answer(302, "", absl::StrCat("Location: ", location, "\r\n"));
      } else {
        asked = request.substr(0, request.find("\r\n"));
        connection.Answer(200, "w");
      }
    }
  });
  auto streamer = StreamerFor(server.url());
  const auto end = [&](const std::string& to) {
    location = to;
    asked.clear();
    auto listener = std::make_shared<QueueListener>();
    streamer->Start(Get(server.url()), listener);
    return listener->Ended();
  };
  for (const auto& [to, line] : std::vector<std::pair<std::string, std::string>>{
           {"/my dogs.zip?a=b c", "GET /my%20dogs.zip?a=b%20c HTTP/1.1"},
           {"/a\tb", "GET /ab HTTP/1.1"},
           {"/b\xc3\xbc", "GET /b%C3%BC HTTP/1.1"},
           {absl::StrCat(server.url(), "/\"x\""), "GET /%22x%22 HTTP/1.1"}}) {
    EXPECT_TRUE(end(to).ok()) << to;
    EXPECT_EQ(asked, line);
  }
  for (const char* bad : {"http://127.0.0.1:port/x?secret", "http://h:0/secret", "ftp://h/secret",
                          "http://", "http://user:secret@h/", "http://b\xc3\xbc/secret"}) {
    const absl::Status status = end(bad);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad << status;
    EXPECT_TRUE(absl::StrContains(status.message(), "redirected to a URL that")) << status;
    EXPECT_FALSE(absl::StrContains(status.message(), "secret")) << status;
  }
}

// The proxy's variables, for one test.
class ProxyEnvironment {
 public:
  explicit ProxyEnvironment(const std::string& proxy, const std::string& direct = "") {
    for (const char* name : {"http_proxy", "https_proxy"}) setenv(name, proxy.c_str(), 1);
    setenv("no_proxy", direct.c_str(), 1);
  }
  ~ProxyEnvironment() {
    for (const char* name : {"http_proxy", "https_proxy", "no_proxy"}) unsetenv(name);
  }
};

TEST(CurlStreamer, ChecksTheAddressOfTheSocketBesideAProxyToo) {
  std::string asked;
  RawServer proxy([&](RawConnection& connection) {
    const std::string request = connection.ReadRequest();
    asked = request.substr(0, request.find("\r\n"));
    connection.Answer(200, "w");
  });
  const ProxyEnvironment environment(proxy.url(), "localhost,.corp.example");
  auto streamer =
      *CurlStreamer::Create({}, *AddressPolicy::Create({"*.localhost"}, "http://127.0.0.1:1"));
  const auto end = [&](const std::string& url, bool foreign) {
    auto listener = std::make_shared<QueueListener>();
    StreamRequest request = Get(url);
    request.foreign = foreign;
    streamer->Start(std::move(request), listener);
    return listener->Ended();
  };
  // The proxy itself may be anywhere.
  EXPECT_TRUE(end("http://datasets.example/x", true).ok());
  EXPECT_EQ(asked, "GET http://datasets.example/x HTTP/1.1");
  const std::string port = proxy.url().substr(proxy.url().rfind(':'));
  for (const char* host :
       {"localhost", "127.1", "2130706433", "0x7f000001", "[::1]", "a.localhost"})
    EXPECT_EQ(end(absl::StrCat("http://", host, port, "/x"), true).code(),
              absl::StatusCode::kPermissionDenied)
        << host;
  // Its name is allowed: the socket's address is not.
  EXPECT_EQ(end(absl::StrCat("https://a.localhost", port, "/x"), false).code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(proxy.connections(), 1);
}

TEST(CurlStreamer, TellsAShortBodyAndAReset) {
  RawServer server([](RawConnection& connection) {
    const bool reset = absl::StrContains(connection.ReadRequest(), "/reset");
    connection.Send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    if (reset) connection.Reset();
  });
  auto streamer = StreamerFor(server.url());
  auto listener = std::make_shared<QueueListener>();
  streamer->Start(Get(server.url() + "/short"), listener);
  EXPECT_EQ(listener->Ended().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(listener->received(), "only this");
  listener = std::make_shared<QueueListener>();
  streamer->Start(Get(server.url() + "/reset"), listener);
  EXPECT_FALSE(listener->Ended().ok());
}

TEST(CurlStreamer, EndsAtOnceWhenCancelledOrShutDown) {
  RawServer server([](RawConnection& connection) {
    connection.ReadRequest();
    connection.AwaitEnd();
  });
  auto streamer = StreamerFor(server.url());
  auto one = std::make_shared<QueueListener>(), two = std::make_shared<QueueListener>(),
       three = std::make_shared<QueueListener>();
  auto stream = streamer->Start(Get(server.url()), one);
  stream->Cancel();
  EXPECT_TRUE(absl::IsCancelled(one->Ended()));
  stream->Resume();
  streamer->Start(Get(server.url()), two);
  streamer->Shutdown();
  EXPECT_TRUE(absl::IsCancelled(two->Ended()));
  streamer->Start(Get(server.url()), three);
  EXPECT_TRUE(absl::IsCancelled(three->Ended()));
  streamer.reset();
  stream->Cancel();
}

}  // namespace
}  // namespace finetune
