#include "server/web/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/mutex.h"

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Says what the test gives it, and counts what becomes of it.
class TestStream : public WebStream {
 public:
  void Begin(std::shared_ptr<WebOutlet> outlet) override {
    MutexLock lock(mu_);
    outlet_ = std::move(outlet);
    changed_.NotifyAll();
  }
  bool Fill(std::string& output) override {
    MutexLock lock(mu_);
    ++fills_;
    output += endless_ ? std::string(kRoom, 'x') : std::exchange(text_, "");
    return !ended_;
  }
  void Close() override {
    MutexLock lock(mu_);
    closed_ = true;
    changed_.NotifyAll();
  }

  void Say(const std::string& text, bool last = false) {
    {
      MutexLock lock(mu_);
      text_ += text;
      ended_ = last;
    }
    outlet()->Wake();
  }
  void SayForEver() {
    {
      MutexLock lock(mu_);
      endless_ = true;
    }
    outlet()->Wake();
  }
  std::shared_ptr<WebOutlet> outlet() {
    MutexLock lock(mu_);
    while (outlet_ == nullptr) changed_.Wait(mu_);
    return outlet_;
  }
  void AwaitClose() {
    MutexLock lock(mu_);
    while (!closed_) changed_.Wait(mu_);
  }
  int fills() {
    MutexLock lock(mu_);
    return fills_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  std::shared_ptr<WebOutlet> outlet_ ABSL_GUARDED_BY(mu_);
  std::string text_ ABSL_GUARDED_BY(mu_);
  bool endless_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  int fills_ ABSL_GUARDED_BY(mu_) = 0;
};

class HelloDoor : public WebDoor {
 public:
  std::optional<WebReply> Judge(const WebRequest& request) override {
    if (request.path == "/stream") return WebReply{.body = "first ", .stream = stream};
    if (request.path == "/large") return WebReply{.body = std::string(10'000'000, 'x')};
    if (request.path != "/hello") return WebReply{.code = 404};
    return std::nullopt;
  }
  WebReply Take(const WebRequest& request) override {
    return {.body = absl::StrCat("hello ", std::string(request.body))};
  }

  const std::shared_ptr<TestStream> stream = std::make_shared<TestStream>();
};

// A connection to the server.
class Client {
 public:
  explicit Client(int port, int receive_buffer = 0) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval timeout{20, 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    if (receive_buffer > 0)
      setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~Client() { close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Say(const std::string& text) const { send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }
  // Until so much has come, or the server closes.
  std::string Read(size_t size) const {
    std::string answer(size, '\0');
    const ssize_t got = recv(fd_, answer.data(), size, MSG_WAITALL);
    answer.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return answer;
  }
  // Until the server closes.
  std::string ReadAll() const {
    std::string answer;
    char buffer[65536];
    ssize_t got = 0;
    while ((got = recv(fd_, buffer, sizeof(buffer), 0)) > 0)
      answer.append(buffer, static_cast<size_t>(got));
    EXPECT_EQ(got, 0) << "no end came";
    return answer;
  }

 private:
  const int fd_;
};

constexpr char kStream[] = "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n";
constexpr char kLastHello[] =
    "POST /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nyou";

class HttpServerTest : public testing::Test {
 protected:
  void Start(HttpServer::Options options = {}) {
    options.host = "127.0.0.1";
    server_ = *HttpServer::Start(options, door_);
  }
  std::string Hello() const {
    const Client client(server_->port());
    client.Say(kLastHello);
    return client.ReadAll();
  }

  HelloDoor door_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersAndClosesWhenAsked) {
  Start();
  EXPECT_THAT(Hello(), AllOf(HasSubstr("HTTP/1.1 200 OK"), HasSubstr("\r\n\r\nhello you")));
}

TEST_F(HttpServerTest, SendsALargeAnswerToASlowReader) {
  Start();
  const Client client(server_->port(), /*receive_buffer=*/4096);
  client.Say("GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_GT(client.ReadAll().size(), 10'000'000u);
}

TEST_F(HttpServerTest, AnswersWhileOthersSendNothing) {
  Start();
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 50; ++i) idle.push_back(std::make_unique<Client>(server_->port()));
  EXPECT_THAT(Hello(), HasSubstr("hello you"));
}

TEST_F(HttpServerTest, CutsOffWhoHasWaitedForLongestWhereThereAreTooMany) {
  Start({.max_connections = 3});
  const Client oldest(server_->port());
  oldest.Say("GET /he");
  const Client second(server_->port()), third(server_->port());
  for (int i = 0; i < 5; ++i) EXPECT_THAT(Hello(), HasSubstr("hello you"));
  oldest.ReadAll();
}

TEST_F(HttpServerTest, ClosesConnectionsOnWhichARequestTakesTooLong) {
  Start({.patience = absl::Milliseconds(50)});
  const Client silent(server_->port()), slow(server_->port());
  slow.Say("POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(silent.ReadAll(), "");
  EXPECT_EQ(slow.ReadAll(), "");
}

TEST_F(HttpServerTest, LetsAnEarlyAnswerArriveAlthoughTheBodyIsStillBeingSent) {
  Start();
  const Client client(server_->port());
  client.Say(absl::StrCat("POST /wrong HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n",
                          std::string(1'000'000, 'x')));
  EXPECT_THAT(client.ReadAll(), HasSubstr("HTTP/1.1 404"));
}

TEST_F(HttpServerTest, EndsWithConnectionsOpen) {
  Start();
  const Client idle(server_->port()), half(server_->port());
  half.Say("GET /");
  server_.reset();
  EXPECT_EQ(idle.ReadAll(), "");
}

TEST_F(HttpServerTest, SaysWhyItCannotListen) {
  Start();
  auto second = HttpServer::Start({.host = "127.0.0.1", .port = server_->port()}, door_);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("Address already in use"));
}

TEST_F(HttpServerTest, SendsWhatAStreamSaysAsItComesAndEndsWithIt) {
  Start();
  const Client client(server_->port());
  client.Say(kStream);
  door_.stream->Say("second ");
  std::string told;
  while (told.find("first second ") == told.npos) told += client.Read(1);
  door_.stream->Say("third", /*last=*/true);
  EXPECT_EQ(client.ReadAll(), "third");
  door_.stream->AwaitClose();
}

TEST_F(HttpServerTest, AStreamThatRestsIsNotAskedAndOutlastsThePatience) {
  Start({.patience = absl::Milliseconds(50)});
  const Client client(server_->port());
  client.Say(kStream);
  door_.stream->outlet();
  // One that is silent is closed after the patience: the stream is older than that then.
  const Client silent(server_->port());
  EXPECT_EQ(silent.ReadAll(), "");
  const int fills = door_.stream->fills();
  EXPECT_LE(fills, 2);
  door_.stream->Say("late", /*last=*/true);
  EXPECT_THAT(client.ReadAll(), HasSubstr("first late"));
}

TEST_F(HttpServerTest, CutsOffAStreamWhoseReaderDoesNotTakeIt) {
  Start({.patience = absl::Milliseconds(50)});
  const Client client(server_->port(), /*receive_buffer=*/4096);
  client.Say(kStream);
  door_.stream->SayForEver();
  door_.stream->AwaitClose();
  // What the kernel's buffers take, and no more.
  EXPECT_LT(door_.stream->fills(), 1000);
}

TEST_F(HttpServerTest, TellsAStreamThatItsClientHasGone) {
  Start();
  std::make_unique<Client>(server_->port())->Say(kStream);
  door_.stream->AwaitClose();
}

TEST_F(HttpServerTest, CutsAStreamWhenItWantsIt) {
  Start();
  const Client client(server_->port());
  client.Say(kStream);
  door_.stream->outlet()->Cut();
  client.ReadAll();
  door_.stream->AwaitClose();
  door_.stream->outlet()->Wake();
  EXPECT_THAT(Hello(), HasSubstr("hello you"));
}

TEST_F(HttpServerTest, NeitherCountsStreamsAmongConnectionsNorLosesThemToNewOnes) {
  Start({.max_connections = 3});
  const Client client(server_->port());
  client.Say(kStream);
  door_.stream->outlet();
  for (int i = 0; i < 10; ++i) EXPECT_THAT(Hello(), HasSubstr("hello you"));
  const Client a(server_->port()), b(server_->port()), c(server_->port()), d(server_->port());
  EXPECT_THAT(Hello(), HasSubstr("hello you"));
  door_.stream->Say("last", /*last=*/true);
  EXPECT_THAT(client.ReadAll(), HasSubstr("first last"));
}

TEST_F(HttpServerTest, AnswersOthersWhileAStreamSaysAllThatIsRead) {
  Start({.threads = 1});
  const Client client(server_->port());
  client.Say(kStream);
  door_.stream->SayForEver();
  for (int i = 0; i < 20; ++i) {
    client.Read(size_t{1} << 20);
    EXPECT_THAT(Hello(), HasSubstr("hello you"));
  }
}

TEST_F(HttpServerTest, EndsWithAStreamOpen) {
  Start();
  const Client client(server_->port());
  client.Say(kStream);
  const auto outlet = door_.stream->outlet();
  server_.reset();
  door_.stream->AwaitClose();
  outlet->Wake();
}

}  // namespace
}  // namespace finetune
