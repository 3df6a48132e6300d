#include "server/service/grpc_server.h"

#include <grpcpp/channel.h>
#include <grpcpp/ext/channelz_service_plugin.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <grpcpp/server_builder.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"
#include "server/service/grpc_status.h"

namespace finetune {
namespace {

// gRPC says only that it could not listen: the same attempt tells why.
std::string WhyNotListen(const std::string& host, int port) {
  const std::string bare =
      host.size() > 2 && host.front() == '[' ? host.substr(1, host.size() - 2) : host;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int failure = getaddrinfo(bare.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (failure != 0) return gai_strerror(failure);
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::strerror(errno);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const bool bound = bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, 1) == 0;
  const std::string why = bound ? "unknown cause" : std::strerror(errno);
  close(fd);
  return why;
}

void ConfigurePlugins(const GrpcServer::Options& options) {
  grpc::EnableDefaultHealthCheckService(true);
  // Process-wide and not to be undone: once is enough, and OnlyWhatWasAskedFor does the rest.
  static std::once_flag reflection, channelz;
  if (options.reflection)
    std::call_once(reflection, [] { grpc::reflection::InitProtoReflectionServerBuilderPlugin(); });
  if (options.channelz)
    std::call_once(channelz, [] { grpc::channelz::experimental::InitChannelzService(); });
}

// Takes out the services that were not asked for: gRPC's library for reflection serves it in every
// server of a process that is linked with it, and what one server asked for, others get too.
class OnlyWhatWasAskedFor : public grpc::ServerBuilderOption {
 public:
  explicit OnlyWhatWasAskedFor(const GrpcServer::Options& options)
      : reflection_(options.reflection), channelz_(options.channelz) {}

  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    std::erase_if(*plugins, [this](const auto& plugin) {
      const std::string name = plugin->name();
      return (!reflection_ && name == "proto_server_reflection") ||
             (!channelz_ && name == "channelz_service");
    });
  }

 private:
  const bool reflection_;
  const bool channelz_;
};

void SetConnectionOptions(grpc::ServerBuilder& builder) {
  // A second process must not share the port silently.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Dead clients are found within a minute (35 s, 20 s); a client may ping every 20 s.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 35'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 20'000);
  // What a client may send ahead of being read is memory here: a fixed megabyte for each stream,
  // where gRPC's own probing goes up to 16.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1 << 20);
  // A chunk of a dataset has at most 1 MiB.
  builder.SetMaxReceiveMessageSize(4 << 20);
  builder.SetMaxSendMessageSize(-1);
}

}  // namespace

// Answers for methods that no service has, so that they are counted and typed like all else.
class GrpcServer::UnknownMethods : public grpc::CallbackGenericService {
 public:
  explicit UnknownMethods(CallGate& gate) : gate_(gate) {}

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override {
    class Reactor : public grpc::ServerGenericBidiReactor {
     public:
      Reactor() { Finish(ToGrpcStatus(absl::UnimplementedError("no such method"))); }
      void OnDone() override { delete this; }
    };
    gate_.CountUnknownMethod(absl::ZeroDuration());
    return new Reactor;
  }

 private:
  CallGate& gate_;
};

// Hears of new watches, which have queues of their own from then on. One thread at a time starts
// and stops it.
class GrpcServer::Arrivals {
 public:
  explicit Arrivals(grpc::ServerBuilder& builder) : queue_(builder.AddCompletionQueue()) {}

  // After the server was built.
  void Start(FineTuneService& service) {
    thread_ = std::make_unique<Thread>("arrivals", [this] {
      void* tag = nullptr;
      bool ok = false;
      while (queue_->Next(&tag, &ok)) static_cast<QueueEvent*>(tag)->OnEvent(ok);
    });
    for (int i = 0; i < kAtOnce; ++i) service.AcceptWatch(*queue_);
  }
  // After the server's Shutdown.
  void Shutdown() {
    queue_->Shutdown();
    if (thread_ != nullptr) thread_->Join();
  }

 private:
  // So many may come before the first of them is looked at; more wait in gRPC.
  static constexpr int kAtOnce = 64;

  const std::unique_ptr<grpc::ServerCompletionQueue> queue_;
  std::unique_ptr<Thread> thread_;
};

// Calls health in this process every 400 ms: the threads of gRPC 1.51's callback API fall into naps
// of 100 ms after a second without work, and the next call would wait for them. Thread-safe.
class GrpcServer::Waker : public std::enable_shared_from_this<Waker> {
 public:
  Waker(std::shared_ptr<grpc::Channel> channel, Clock& clock)
      : stub_(std::move(channel)), clock_(clock) {}

  void Schedule() {
    MutexLock lock(mu_);
    if (stopped_) return;
    timer_ = clock_.RunAfter(kInterval, [weak = weak_from_this()] {
      if (auto waker = weak.lock()) waker->Call();
    });
  }

  void Stop() {
    Clock::TimerId timer = Clock::kNoTimer;
    {
      MutexLock lock(mu_);
      stopped_ = true;
      timer = timer_;
    }
    clock_.Cancel(timer);
  }

 private:
  static constexpr absl::Duration kInterval = absl::Milliseconds(400);

  struct HealthCall {
    grpc::ClientContext context;
    grpc::ByteBuffer request;
    grpc::ByteBuffer response;
  };

  void Call() {
    auto call = std::make_shared<HealthCall>();
    const grpc::Slice empty;
    call->request = grpc::ByteBuffer(&empty, 1);
    call->context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(5)));
    stub_.UnaryCall(&call->context, "/grpc.health.v1.Health/Check", {}, &call->request,
                    &call->response,
                    [self = shared_from_this(), call](grpc::Status) { self->Schedule(); });
  }

  grpc::GenericStub stub_;
  Clock& clock_;

  Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = Clock::kNoTimer;
};

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const Options& options,
                                                              FineTuneService& service,
                                                              CallGate& gate, Clock& clock) {
  ConfigurePlugins(options);
  std::unique_ptr<GrpcServer> made(new GrpcServer());
  made->unknown_methods_ = std::make_unique<UnknownMethods>(gate);
  grpc::ServerBuilder builder;
  SetConnectionOptions(builder);
  builder.SetOption(std::make_unique<OnlyWhatWasAskedFor>(options));
  builder.AddListeningPort(absl::StrCat(options.host, ":", options.port), options.credentials,
                           &made->port_);
  builder.RegisterService(&service);
  builder.RegisterCallbackGenericService(made->unknown_methods_.get());
  made->arrivals_ = std::make_unique<Arrivals>(builder);
  made->server_ = builder.BuildAndStart();
  if (made->server_ == nullptr || made->port_ == 0)
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options.host, ":", options.port,
                                               ": ", WhyNotListen(options.host, options.port)));
  made->arrivals_->Start(service);
  made->SetServing(false);
  made->waker_ = std::make_shared<Waker>(made->InProcessChannel(), clock);
  made->waker_->Schedule();
  return made;
}

GrpcServer::~GrpcServer() { Shutdown(absl::Now()); }

void GrpcServer::SetServing(bool serving) {
  if (auto* health = server_->GetHealthCheckService()) health->SetServingStatus(serving);
}

void GrpcServer::Shutdown(absl::Time deadline) {
  if (waker_ != nullptr) waker_->Stop();
  if (server_ == nullptr) return;
  server_->Shutdown(absl::ToChronoTime(deadline));
  arrivals_->Shutdown();
  waker_.reset();
  server_.reset();
}

std::shared_ptr<grpc::Channel> GrpcServer::InProcessChannel() {
  return server_->InProcessChannel(grpc::ChannelArguments());
}

}  // namespace finetune
