#include "tests/emulator/http_server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "tests/emulator/storage.h"
#include "tests/emulator/wire.h"

namespace finetune::emulator {
namespace {

constexpr size_t kMostBody = 64 << 20;
constexpr uint64_t kMostUpload = 5ull << 30;
constexpr size_t kSendSize = 128 << 10;

MHD_Result AddHeader(void* cls, MHD_ValueKind, const char* name, const char* value) {
  auto* headers = static_cast<std::map<std::string, std::string>*>(cls);
  (*headers)[absl::AsciiStrToLower(name)] = value != nullptr ? value : "";
  return MHD_YES;
}

MHD_Result AddQuery(void* cls, MHD_ValueKind, const char* name, const char* value) {
  auto* query = static_cast<std::map<std::string, std::string>*>(cls);
  (*query)[name] = value != nullptr ? value : "";
  return MHD_YES;
}

void FreeText(void* cls) { delete static_cast<std::shared_ptr<const std::string>*>(cls); }

void Reset(MHD_Connection* connection) {
  const auto* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  // MHD would shut the socket down first, which is a FIN; Linux answers this with an RST.
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  connect(info->connect_fd, &nobody, sizeof(nobody));
}

}  // namespace

// One request and its answer on their way. Used by the connection's thread only.
class HttpServer::Exchange {
 public:
  Exchange(HttpServer* server, MHD_Connection* connection, const char* method, const char* url);

  MHD_Result Take(const char* bytes, size_t* count);
  MHD_Result Reply();

 private:
  // A body that is read, cut, stalled or slowed as it goes out; belongs to MHD's response.
  struct Outflow {
    HttpServer* server;
    MHD_Connection* connection;
    Answer answer;
    uint64_t end = 0;  // Where the bytes stop.
    bool stalled = false;
    std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();

    ssize_t Read(uint64_t position, char* buffer, size_t room);
  };

  MHD_Response* MakeResponse();
  // Hands the connection to the answer's script; it ends with it.
  void PlayWire();
  static void Suspend(HttpServer* server, MHD_Connection* connection,
                      std::chrono::nanoseconds delay);

  HttpServer* const server_;
  MHD_Connection* const connection_;
  Request request_;
  std::shared_ptr<StoredFile> spool_;
  bool spool_failed_ = false;
  bool answered_ = false;
  bool delayed_ = false;
  bool wired_ = false;
  Answer answer_;

  friend class HttpServer;
};

HttpServer::Exchange::Exchange(HttpServer* server, MHD_Connection* connection, const char* method,
                               const char* url)
    : server_(server), connection_(connection) {
  request_.method = method;
  request_.path = url;
  MHD_get_connection_values(connection, MHD_HEADER_KIND, AddHeader, &request_.headers);
  MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, AddQuery, &request_.query);
  if (request_.method == "PUT" && absl::StartsWith(request_.path, "/storage/")) {
    spool_ = StoredFile::Create(server->folder_);
    spool_failed_ = spool_ == nullptr;
  }
}

MHD_Result HttpServer::Exchange::Take(const char* bytes, size_t* count) {
  if (spool_ != nullptr) {
    if (spool_->size() + *count > kMostUpload) {
      request_.too_large = true;
    } else if (!spool_failed_) {
      spool_failed_ = !spool_->Append({bytes, *count});
    }
  } else if (request_.body.size() + *count > kMostBody) {
    request_.too_large = true;
  } else {
    request_.body.append(bytes, *count);
  }
  *count = 0;
  return MHD_YES;
}

void HttpServer::Exchange::Suspend(HttpServer* server, MHD_Connection* connection,
                                   std::chrono::nanoseconds delay) {
  MHD_suspend_connection(connection);
  server->timer_.After(delay, [connection] { MHD_resume_connection(connection); });
}

MHD_Result HttpServer::Exchange::Reply() {
  if (!answered_) {
    answered_ = true;
    if (spool_ != nullptr && !spool_failed_) {
      spool_->Finish();
      request_.spooled = std::move(spool_);
    }
    answer_ = server_->handler_(request_);
    request_.body = std::string();
  }
  if (server_->stopping_) return MHD_NO;
  if (answer_.delay.count() > 0 && !delayed_) {
    delayed_ = true;
    Suspend(server_, connection_, answer_.delay);
    return MHD_YES;
  }
  if (answer_.close) {
    if (answer_.reset) Reset(connection_);
    return MHD_NO;
  }
  if (wired_) return MHD_NO;
  if (answer_.wire == nullptr && NeedsWire(answer_)) {
    auto script = std::make_shared<WireScript>();
    script->head = WireText(answer_);
    answer_.wire = std::move(script);
  }
  if (answer_.wire != nullptr) {
    PlayWire();
    return MHD_YES;
  }
  MHD_Response* response = MakeResponse();
  if (response == nullptr) return MHD_NO;
  if (answer_.code != 204 && answer_.code != 304) {
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer_.content_type.c_str());
  }
  for (const auto& [name, value] : answer_.headers) {
    MHD_add_response_header(response, name.c_str(), value.c_str());
  }
  const MHD_Result result = MHD_queue_response(connection_, answer_.code, response);
  MHD_destroy_response(response);
  return result;
}

void HttpServer::Exchange::PlayWire() {
  wired_ = true;
  const auto* info = MHD_get_connection_info(connection_, MHD_CONNECTION_INFO_CONNECTION_FD);
  MHD_suspend_connection(connection_);
  server_->wire_writer_.Play(info->connect_fd, answer_.wire,
                             [connection = connection_] { MHD_resume_connection(connection); });
}

MHD_Response* HttpServer::Exchange::MakeResponse() {
  const bool plain =
      answer_.source == nullptr && !answer_.break_after && answer_.bytes_per_second == 0;
  if (plain) {
    if (answer_.text == nullptr) {
      return MHD_create_response_from_buffer(0, nullptr, MHD_RESPMEM_PERSISTENT);
    }
    // Shares the text: a list of 80 MB is not copied for each caller.
    auto* kept = new std::shared_ptr<const std::string>(answer_.text);
    return MHD_create_response_from_buffer_with_free_callback_cls(
        answer_.text->size(), const_cast<char*>(answer_.text->data()), FreeText, kept);
  }
  auto* flow = new Outflow{server_, connection_, answer_};
  flow->end = std::min(answer_.break_after.value_or(answer_.body_size()), answer_.body_size());
  return MHD_create_response_from_callback(
      answer_.body_size(), kSendSize,
      [](void* cls, uint64_t position, char* buffer, size_t room) {
        return static_cast<Outflow*>(cls)->Read(position, buffer, room);
      },
      flow, [](void* cls) { delete static_cast<Outflow*>(cls); });
}

ssize_t HttpServer::Exchange::Outflow::Read(uint64_t position, char* buffer, size_t room) {
  if (server->stopping_) return MHD_CONTENT_READER_END_WITH_ERROR;
  uint64_t count = std::min<uint64_t>(room, end > position ? end - position : 0);
  if (count == 0) {
    if (answer.stall.count() > 0 && !stalled) {
      stalled = true;
      Suspend(server, connection, answer.stall);
      return 0;
    }
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
  if (answer.bytes_per_second > 0) {
    // A tenth of a second's worth at a time, each when its time has come.
    count = std::min<uint64_t>(count, std::max<uint64_t>(answer.bytes_per_second / 10, 1));
    const auto due =
        began +
        std::chrono::nanoseconds(static_cast<int64_t>(
            1e9 * static_cast<double>(position) / static_cast<double>(answer.bytes_per_second)));
    const auto now = std::chrono::steady_clock::now();
    if (due > now) {
      Suspend(server, connection, due - now);
      return 0;
    }
  }
  if (answer.source == nullptr) {
    std::memcpy(buffer, answer.text->data() + position, count);
  } else if (!answer.source->Read(answer.offset + position, buffer, count)) {
    return MHD_CONTENT_READER_END_WITH_ERROR;
  }
  return static_cast<ssize_t>(count);
}

std::string HttpServer::Listen(const std::string& host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : host.c_str(), &address.sin_addr) !=
      1) {
    return "not an IPv4 address: " + host;
  }
  socket_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // Accepted sockets inherit it; with Nagle's algorithm short answers wait for 40 ms.
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  socklen_t length = sizeof(address);
  if (bind(socket_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(socket_, 4096) != 0 ||
      getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    const std::string reason = std::strerror(errno);
    close(socket_);
    socket_ = -1;
    return "cannot listen on " + host + ":" + std::to_string(port) + ": " + reason;
  }
  port_ = ntohs(address.sin_port);
  return "";
}

std::string HttpServer::Start(Handler handler, int threads) {
  handler_ = std::move(handler);
  const MHD_AccessHandlerCallback on_request = [](void* cls, MHD_Connection* connection,
                                                  const char* url, const char* method, const char*,
                                                  const char* bytes, size_t* count, void** state) {
    if (*state == nullptr) {
      *state = new Exchange(static_cast<HttpServer*>(cls), connection, method, url);
      return MHD_YES;
    }
    auto* exchange = static_cast<Exchange*>(*state);
    return *count > 0 ? exchange->Take(bytes, count) : exchange->Reply();
  };
  const MHD_RequestCompletedCallback on_completed = [](void*, MHD_Connection*, void** state,
                                                       MHD_RequestTerminationCode) {
    delete static_cast<Exchange*>(*state);
    *state = nullptr;
  };
  const MHD_NotifyConnectionCallback on_connection = [](void* cls, MHD_Connection*, void**,
                                                        MHD_ConnectionNotificationCode code) {
    CallLog* log = static_cast<HttpServer*>(cls)->log_;
    code == MHD_CONNECTION_NOTIFY_STARTED ? log->ConnectionOpened() : log->ConnectionClosed();
  };
  daemon_ = MHD_start_daemon(
      // The Date header is the router's: its clock can be set.
      MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC |
          MHD_USE_SUPPRESS_DATE_NO_CLOCK,
      0, nullptr, nullptr, on_request, this, MHD_OPTION_LISTEN_SOCKET, socket_,
      MHD_OPTION_THREAD_POOL_SIZE, static_cast<unsigned>(threads), MHD_OPTION_CONNECTION_LIMIT,
      100000u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, size_t{64 << 10}, MHD_OPTION_CONNECTION_TIMEOUT,
      120u, MHD_OPTION_NOTIFY_COMPLETED, on_completed, nullptr, MHD_OPTION_NOTIFY_CONNECTION,
      on_connection, this, MHD_OPTION_END);
  return daemon_ != nullptr ? "" : "cannot start the HTTP server";
}

void HttpServer::Stop() {
  stopping_ = true;
  // No connection may be suspended when the daemon stops: this resumes them all.
  timer_.Stop();
  wire_writer_.Stop();
  if (daemon_ != nullptr) {
    MHD_stop_daemon(daemon_);  // Closes the socket, too.
  } else if (socket_ >= 0) {
    close(socket_);
  }
  daemon_ = nullptr;
  socket_ = -1;
}

}  // namespace finetune::emulator
