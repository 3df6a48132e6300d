#include "server/web/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class HelloDoor : public WebDoor {
 public:
  std::optional<WebReply> Judge(const WebRequest& request) override {
    if (request.path == "/large") return WebReply{.body = std::string(10'000'000, 'x')};
    if (request.path != "/hello") return WebReply{.code = 404};
    return std::nullopt;
  }
  WebReply Take(const WebRequest& request) override {
    return {.body = absl::StrCat("hello ", std::string(request.body))};
  }
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

}  // namespace
}  // namespace finetune
