#include "server/web/http_server.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/base/thread.h"
#include "server/web/http_connection.h"
#include "server/web/wake_list.h"

namespace finetune {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr auto kTick = std::chrono::milliseconds(500);
// When descriptors are short, accepting pauses instead of failing at every turn.
constexpr auto kPauseOfAccepting = std::chrono::milliseconds(100);
// How long, and for how many bytes, a client that was answered early may go on sending, so that its
// kernel does not discard the answer.
constexpr auto kLingering = std::chrono::seconds(2);
constexpr size_t kMostLingeringBytes = size_t{8} << 20;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

}  // namespace

// A thread with its share of the connections.
class HttpServer::Loop {
 public:
  static absl::StatusOr<std::unique_ptr<Loop>> Start(const Options& options, std::string name,
                                                     const Listeners& listeners, WebDoor& door,
                                                     ConnectionQueue& queue) {
    std::unique_ptr<Loop> loop(new Loop(options, listeners, door, queue));
    if (loop->epoll_.get() < 0 || loop->stop_.get() < 0 || loop->wakes_->fd() < 0 ||
        !loop->WatchAll())
      return absl::UnavailableError(absl::StrCat("cannot serve HTTP: ", std::strerror(errno)));
    loop->thread_ = std::make_unique<Thread>(std::move(name), [self = loop.get()] { self->Run(); });
    return loop;
  }

  ~Loop() {
    const uint64_t one = 1;
    if (write(stop_.get(), &one, sizeof(one)) < 0) {
      // The counter is full, so the thread has been woken.
    }
    thread_.reset();
    while (!peers_.empty()) Close(peers_.begin()->first);
  }

 private:
  struct Peer {
    Peer(WebDoor& door, const Options& options) : connection(door, options.max_body_bytes) {}

    HttpConnection connection;
    size_t sent = 0;  // Of its output.
    bool lingering = false;
    size_t lingering_bytes = 0;
    SteadyTime deadline;
    uint64_t answered = 0;  // As `deadline` and the queue know it.
    bool was_idle = true;
    uint32_t events = 0;  // That are asked for.

    // The stream of an answer under way; null before and after it.
    std::shared_ptr<WebStream> stream;
    bool stream_ended = false;  // It has said all.
    bool stream_rests = false;  // It had nothing to say when it was asked last.
    uint64_t number = 0;        // Of the connection.
  };

  Loop(const Options& options, const Listeners& listeners, WebDoor& door, ConnectionQueue& queue)
      : options_(options),
        patience_(absl::ToChronoMilliseconds(options.patience)),
        listeners_(listeners),
        door_(door),
        queue_(queue),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  bool Watch(int fd, uint32_t events) {
    epoll_event wanted = {.events = events, .data = {.fd = fd}};
    return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &wanted) == 0;
  }

  bool WatchListeners() {
    for (const int fd : listeners_.sockets())
      if (!Watch(fd, EPOLLIN | EPOLLEXCLUSIVE)) return false;
    return true;
  }
  bool WatchAll() {
    return Watch(stop_.get(), EPOLLIN) && Watch(wakes_->fd(), EPOLLIN) && WatchListeners();
  }

  bool IsListener(int fd) const {
    for (const int listener : listeners_.sockets())
      if (fd == listener) return true;
    return false;
  }

  void Run() {
    epoll_event events[64];
    while (true) {
      const bool waits = !peers_.empty() || accepting_again_ != SteadyTime();
      const int tick = accepting_again_ != SteadyTime() ? 100 : 500;
      const int count = epoll_wait(epoll_.get(), events, std::size(events), waits ? tick : -1);
      for (int i = 0; i < count; ++i) {
        const int fd = events[i].data.fd;
        if (fd == stop_.get()) return;
        if (IsListener(fd))
          Accept(fd);
        else if (fd == wakes_->fd())
          ServeWakes();
        else
          Serve(fd, events[i].events);
      }
      const SteadyTime now = std::chrono::steady_clock::now();
      if (now >= next_tick_) CloseLate(now);
      if (accepting_again_ != SteadyTime() && now >= accepting_again_) {
        accepting_again_ = {};
        WatchListeners();
      }
    }
  }

  void Accept(int listener) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        PauseAccepting();
      return;
    }
    auto peer = std::make_unique<Peer>(door_, options_);
    peer->deadline = std::chrono::steady_clock::now() + patience_;
    peer->events = EPOLLIN;
    peer->number = ++last_number_;
    if (!Watch(fd, EPOLLIN)) {
      close(fd);
      return;
    }
    peers_[fd] = std::move(peer);
    queue_.Begin(fd);
  }

  void PauseAccepting() {
    for (const int fd : listeners_.sockets()) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    accepting_again_ = std::chrono::steady_clock::now() + kPauseOfAccepting;
  }

  void Serve(int fd, uint32_t events) {
    const auto found = peers_.find(fd);
    if (found == peers_.end()) return;
    Peer& peer = *found->second;
    const bool reads = (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
    bool open = true;
    if (peer.lingering || (reads && peer.stream != nullptr))
      open = Drop(fd, peer);
    else if (reads && peer.connection.wants_bytes())
      open = Read(fd, peer);
    else if ((events & (EPOLLHUP | EPOLLERR)) != 0)
      open = false;
    Proceed(fd, peer, open);
  }

  void ServeWakes() {
    for (const WakeList::Call& call : wakes_->Take()) {
      const auto found = peers_.find(call.socket);
      if (found == peers_.end() || found->second->number != call.connection) continue;
      Peer& peer = *found->second;
      peer.stream_rests = false;
      Proceed(call.socket, peer, !call.cut);
    }
  }

  // Advances a connection as far as its peer takes what it is sent, or closes it.
  void Proceed(int fd, Peer& peer, bool open) {
    if (open && !peer.lingering) open = Send(fd, peer);
    if (open && peer.stream != nullptr) open = Stream(fd, peer);
    if (open) open = Ask(fd, peer);
    if (!open) Close(fd);
  }

  // Each of these is false once the connection is over.
  bool Read(int fd, Peer& peer) {
    char buffer[16384];
    const ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    peer.connection.Take({buffer, static_cast<size_t>(got)});
    return true;
  }

  bool Send(int fd, Peer& peer) {
    HttpConnection& connection = peer.connection;
    while (!connection.output().empty()) {
      const std::string& output = connection.output();
      const ssize_t sent =
          send(fd, output.data() + peer.sent, output.size() - peer.sent, MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN || errno == EINTR;
      peer.sent += static_cast<size_t>(sent);
      if (peer.sent < output.size()) continue;
      peer.sent = 0;
      connection.output().clear();
      if (auto stream = connection.TakeStream())
        BeginStream(fd, peer, std::move(stream));
      else if (peer.stream == nullptr && connection.closing())
        return BeginLingering(fd, peer);
      else
        connection.Sent();
    }
    return true;
  }

  // A stream is not a waiting request: its door bounds how many there are.
  void BeginStream(int fd, Peer& peer, std::shared_ptr<WebStream> stream) {
    queue_.End(fd);
    peer.stream = std::move(stream);
    peer.deadline = SteadyTime::max();
    peer.stream->Begin(wakes_->OutletOf(fd, peer.number));
  }

  // One turn, so that other connections get theirs. Until the stream rests, what it has said must
  // be taken within the patience.
  bool Stream(int fd, Peer& peer) {
    std::string& output = peer.connection.output();
    if (output.empty() && !peer.stream_ended && !peer.stream_rests) {
      peer.stream_ended = !peer.stream->Fill(output);
      peer.stream_rests = output.empty();
      peer.deadline =
          peer.stream_rests ? SteadyTime::max() : std::chrono::steady_clock::now() + patience_;
      if (!Send(fd, peer)) return false;
    }
    return !output.empty() || !peer.stream_ended || BeginLingering(fd, peer);
  }

  void EndStream(Peer& peer) {
    if (const auto stream = std::exchange(peer.stream, nullptr)) stream->Close();
  }

  bool BeginLingering(int fd, Peer& peer) {
    EndStream(peer);
    shutdown(fd, SHUT_WR);
    peer.lingering = true;
    peer.deadline = std::chrono::steady_clock::now() + kLingering;
    return true;
  }

  // Reads and discards.
  bool Drop(int fd, Peer& peer) {
    char dropped[16384];
    const ssize_t got = recv(fd, dropped, sizeof(dropped), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    peer.lingering_bytes += static_cast<size_t>(got);
    return got > 0 && peer.lingering_bytes <= kMostLingeringBytes;
  }

  // Registers for what the connection needs next, and sets its time limit.
  bool Ask(int fd, Peer& peer) {
    const HttpConnection& connection = peer.connection;
    if (!peer.lingering && peer.stream == nullptr) {
      const bool begun = std::exchange(peer.was_idle, connection.idle()) && !connection.idle();
      const bool answered = peer.answered != connection.answered();
      if (answered) queue_.Answered(fd);
      peer.answered = connection.answered();
      if (begun || answered) peer.deadline = std::chrono::steady_clock::now() + patience_;
    }
    uint32_t wanted = peer.lingering || connection.wants_bytes() ? EPOLLIN : EPOLLOUT;
    if (peer.stream != nullptr) wanted = EPOLLIN | (peer.stream_rests ? 0 : EPOLLOUT);
    if (wanted == std::exchange(peer.events, wanted)) return true;
    epoll_event event = {.events = wanted, .data = {.fd = fd}};
    return epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0;
  }

  void CloseLate(SteadyTime now) {
    next_tick_ = now + kTick;
    std::vector<int> late;
    for (const auto& [fd, peer] : peers_)
      if (now >= peer->deadline) late.push_back(fd);
    for (const int fd : late) Close(fd);
  }

  void Close(int fd) {
    queue_.End(fd);
    EndStream(*peers_[fd]);
    peers_.erase(fd);
    close(fd);
  }

  // Constant after construction.
  const Options options_;
  const std::chrono::milliseconds patience_;
  const Listeners& listeners_;
  WebDoor& door_;
  ConnectionQueue& queue_;
  const Descriptor epoll_;
  const Descriptor stop_;
  const std::shared_ptr<WakeList> wakes_ = std::make_shared<WakeList>();

  // Its thread only.
  absl::flat_hash_map<int, std::unique_ptr<Peer>> peers_;
  uint64_t last_number_ = 0;
  SteadyTime next_tick_;
  SteadyTime accepting_again_;  // Zero while it accepts.

  std::unique_ptr<Thread> thread_;
};

HttpServer::HttpServer(const Options& options, Listeners listeners)
    : listeners_(std::move(listeners)),
      connections_(static_cast<size_t>(options.max_connections)) {}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const Options& options,
                                                              WebDoor& door) {
  ASSIGN_OR_RETURN(Listeners listeners, Listeners::Open(options.host, options.port));
  std::unique_ptr<HttpServer> server(new HttpServer(options, std::move(listeners)));
  for (int i = 0; i < options.threads; ++i) {
    ASSIGN_OR_RETURN(auto loop, Loop::Start(options, absl::StrCat(options.name, "-", i),
                                            server->listeners_, door, server->connections_));
    server->loops_.push_back(std::move(loop));
  }
  return server;
}

HttpServer::~HttpServer() = default;

}  // namespace finetune
