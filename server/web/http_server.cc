#include "server/web/http_server.h"

#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace finetune {
namespace {

struct Listener {
  int fd = -1;
  int port = 0;
};

std::string BareHost(const std::string& host) {
  return host.size() > 2 && host.front() == '[' ? host.substr(1, host.size() - 2) : host;
}

int PortOf(int fd) {
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length);
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                           : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
}

// Our own socket, because its options are inherited by what it accepts and its errors are clear.
absl::StatusOr<Listener> Listen(const std::string& host, int port) {
  const std::string where = absl::StrCat("cannot listen on ", host, ":", port, ": ");
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int failure =
      getaddrinfo(BareHost(host).c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failure != 0) return absl::UnavailableError(absl::StrCat(where, gai_strerror(failure)));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd >= 0) {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    // Without it Nagle and delayed ACKs show up as 40 ms.
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
    const int error = errno;
    if (fd >= 0) close(fd);
    return absl::UnavailableError(absl::StrCat(where, std::strerror(error)));
  }
  return Listener{fd, PortOf(fd)};
}

}  // namespace

struct HttpServer::Call {
  std::string body;
  bool too_long = false;
};

// What libmicrohttpd calls.
struct HttpServer::Hooks {
  static MHD_Result Reply(MHD_Connection* connection, WebReply reply) {
    MHD_Response* response = MHD_create_response_from_buffer(reply.body.size(), reply.body.data(),
                                                             MHD_RESPMEM_MUST_COPY);
    if (response == nullptr) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", reply.content_type.c_str());
    MHD_add_response_header(response, "Cache-Control", "no-store");
    if (!reply.allow.empty()) MHD_add_response_header(response, "Allow", reply.allow.c_str());
    const MHD_Result queued =
        MHD_queue_response(connection, static_cast<unsigned>(reply.code), response);
    MHD_destroy_response(response);
    return queued;
  }

  static bool AnnouncesTooMuch(MHD_Connection* connection, size_t limit) {
    const char* text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    uint64_t length = 0;
    return text != nullptr && absl::SimpleAtoi(text, &length) && length > limit;
  }

  // Several lengths, or two kinds of them: what is a request to us could be two to a proxy before
  // us, or half a one.
  static bool IsAmbiguous(MHD_Connection* connection) {
    int lengths = 0;
    MHD_get_connection_values(
        connection, MHD_HEADER_KIND,
        [](void* count, MHD_ValueKind, const char* name, const char*) {
          if (absl::EqualsIgnoreCase(name, "Content-Length") ||
              absl::EqualsIgnoreCase(name, "Transfer-Encoding"))
            ++*static_cast<int*>(count);
          return MHD_YES;
        },
        &lengths);
    return lengths > 1;
  }

  static int SocketOf(MHD_Connection* connection) {
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
  }

  static void OnConnection(void* self, MHD_Connection* connection, void**,
                           MHD_ConnectionNotificationCode what) {
    ConnectionQueue& connections = static_cast<HttpServer*>(self)->connections_;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
      connections.Begin(SocketOf(connection));
    } else {
      connections.End(SocketOf(connection));
    }
  }

  static MHD_Result OnRequest(void* self, MHD_Connection* connection, const char* url,
                              const char* method, const char*, const char* data, size_t* size,
                              void** state) {
    auto* server = static_cast<HttpServer*>(self);
    const size_t limit = server->options_.max_body_bytes;
    auto* call = static_cast<Call*>(*state);
    if (call == nullptr) {
      *state = call = new Call;
      if (IsAmbiguous(connection))
        return Reply(connection, {.code = 400, .body = "more than one length\n"});
      if (!AnnouncesTooMuch(connection, limit)) return MHD_YES;
      // Answered before the body is read; the connection is closed after it.
      return Reply(connection, server->handler_({method, url, "", true}));
    }
    if (*size > 0) {
      // A body of unannounced length is read to its end, but not for ever.
      call->too_long = call->too_long || call->body.size() + *size > limit;
      call->body.append(data, *size);
      if (call->body.size() > 4 * limit + (size_t{1} << 20)) return MHD_NO;
      *size = 0;
      return MHD_YES;
    }
    return Reply(connection, server->handler_({method, url,
                                               call->too_long ? std::string_view()
                                                              : std::string_view(call->body),
                                               call->too_long}));
  }

  static void OnCompleted(void* self, MHD_Connection* connection, void** state,
                          MHD_RequestTerminationCode) {
    static_cast<HttpServer*>(self)->connections_.Answered(SocketOf(connection));
    delete static_cast<Call*>(*state);
    *state = nullptr;
  }
};

HttpServer::HttpServer(Options options, Handler handler)
    : options_(std::move(options)),
      handler_(std::move(handler)),
      connections_(static_cast<size_t>(options_.max_connections)) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(Options options, Handler handler) {
  ASSIGN_OR_RETURN(const Listener listener, Listen(options.host, options.port));
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(options), std::move(handler)));
  server->port_ = listener.port;
  // Its own limit counts for each thread apart, and lets nobody in: it is never to be reached.
  const auto threads = static_cast<unsigned>(server->options_.threads);
  const auto connections = static_cast<unsigned>(2 * server->options_.max_connections);
  server->daemon_ = MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD, 0, nullptr, nullptr, &Hooks::OnRequest, server.get(),
      MHD_OPTION_LISTEN_SOCKET, listener.fd, MHD_OPTION_THREAD_POOL_SIZE, threads,
      MHD_OPTION_CONNECTION_LIMIT, threads * connections, MHD_OPTION_CONNECTION_TIMEOUT,
      static_cast<unsigned>(absl::ToInt64Seconds(server->options_.idle_timeout)),
      MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION, &Hooks::OnConnection,
      server.get(), MHD_OPTION_NOTIFY_COMPLETED, &Hooks::OnCompleted, server.get(), MHD_OPTION_END);
  if (server->daemon_ == nullptr)
    return absl::UnavailableError(absl::StrCat("cannot start the HTTP server on port ",
                                               listener.port, ": ", std::strerror(errno)));
  return server;
}

HttpServer::~HttpServer() {
  if (daemon_ != nullptr) MHD_stop_daemon(daemon_);
}

}  // namespace finetune
