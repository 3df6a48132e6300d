#include "server/service/grpc_server.h"

#include <grpcpp/ext/channelz_service_plugin.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <grpcpp/server_builder.h>
#include <netdb.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "server/service/calls/grpc_status.h"
#include "server/service/calls/queued_call.h"
#include "server/service/reflection.h"

namespace finetune {
namespace {

// gRPC only says that it could not listen. Trying the same here tells why.
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
  std::string why = bound ? "unknown cause" : std::strerror(errno);
  close(fd);
  return why;
}

void ConfigurePlugins(const GrpcServer::Options& options) {
  grpc::EnableDefaultHealthCheckService(false);
  // These are process-wide and cannot be undone: once is enough, and OnlyWhatWasAskedFor does the
  // rest.
  static std::once_flag reflection, channelz;
  if (options.reflection)
    std::call_once(reflection, [] { grpc::reflection::InitProtoReflectionServerBuilderPlugin(); });
  if (options.channelz)
    std::call_once(channelz, [] { grpc::channelz::experimental::InitChannelzService(); });
}

constexpr int kSpareReaders = 3;

// The processor time that this process has used so far. Threads that read sockets without end use
// much of it.
absl::Duration ProcessorTime() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return absl::DurationFromTimespec(used);
}

// Without a second processor, a second thread would only take time from the first.
std::function<int64_t()> RefusedCalls(const CallGate& gate) {
  if (std::thread::hardware_concurrency() == 1) return [] { return int64_t{0}; };
  return [&gate] { return gate.refused_calls(); };
}

// Removes the services that were not asked for: gRPC's reflection library serves itself in every
// server of a process that links it, and what one server asked for, others get too.
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
  // A dead client is found within a minute (35 s + 20 s). A client may ping every 10 s, with some
  // tolerance for the network.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 35'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  // What a client may send before it is read is memory here, and gRPC's own probing would raise
  // that to 16 MiB. A stream may send a little, and a whole message once it is asked for. Because
  // it is so little, ConnectionGuard can tell a stream that has just begun from a flood.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 64 << 10);
  // ConnectionGuard reads it, whether or not it is served.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 1);
  // Ends connections whose client says nothing.
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 20'000);
  // Tokens of Kubernetes and OIDC have up to 16 KiB, and proxies add headers of their own.
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 32 << 10);
  // A chunk of a dataset has at most 1 MiB.
  builder.SetMaxReceiveMessageSize(4 << 20);
  builder.SetMaxSendMessageSize(-1);
}

}  // namespace

// Answers calls of methods that no service has, so that they too are counted and get a typed error.
class GrpcServer::UnknownMethods {
 public:
  UnknownMethods(grpc::ServerBuilder& builder, CallGate& gate) : gate_(gate) {
    builder.RegisterAsyncGenericService(&service_);
  }

  // Takes calls from now on.
  void Accept(CallQueues& queues) {
    for (int i = 0; i < kAtOnce; ++i) (new UnknownCall(*this, queues))->Accept();
  }

 private:
  static constexpr int kAtOnce = 4;

  class UnknownCall final : public QueuedCall {
   public:
    UnknownCall(UnknownMethods& methods, CallQueues& queues)
        : QueuedCall(queues), methods_(methods) {}
    void Accept() { Ask(context_); }

   private:
    void Request(void* tag) override {
      methods_.service_.RequestCall(&context_, &stream_, &arrivals(), &arrivals(), tag);
    }
    void OnArrived() override {
      (new UnknownCall(methods_, queues()))->Accept();
      methods_.gate_.CountUnknownMethod(absl::ZeroDuration());
      stream_.Finish(ToGrpcStatus(absl::UnimplementedError("no such method")), finished_.Begin());
    }
    void OnFinished(bool) {}

    UnknownMethods& methods_;
    grpc::GenericServerContext context_;
    grpc::GenericServerAsyncReaderWriter stream_{&context_};
    Operation<UnknownCall> finished_{*this, &UnknownCall::OnFinished};
  };

  CallGate& gate_;
  grpc::AsyncGenericService service_;
};

GrpcServer::GrpcServer()
    : health_({std::string(pb::FineTuneService::service_full_name()),
               std::string(grpc::health::v1::Health::service_full_name())}) {}

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const Options& options,
                                                              FineTuneService& service,
                                                              CallGate& gate) {
  ConfigurePlugins(options);
  std::unique_ptr<GrpcServer> made(new GrpcServer());
  grpc::ServerBuilder builder;
  SetConnectionOptions(builder);
  builder.SetOption(std::make_unique<OnlyWhatWasAskedFor>(options));
  if (options.reflection) {
    if (auto reflection = MakeReflectionOption()) builder.SetOption(std::move(reflection));
  }
  builder.AddListeningPort(absl::StrCat(options.host, ":", options.port), options.credentials,
                           &made->port_);
  builder.RegisterService(&service);
  builder.RegisterService(&made->health_);
  made->unknown_methods_ = std::make_unique<UnknownMethods>(builder, gate);
  made->queues_ = std::make_unique<CallQueues>(builder, options.threads);
  made->server_ = builder.BuildAndStart();
  if (made->server_ == nullptr || made->port_ == 0)
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options.host, ":", options.port,
                                               ": ", WhyNotListen(options.host, options.port)));
  service.Accept(*made->queues_);
  made->health_.Accept(*made->queues_);
  made->unknown_methods_->Accept(*made->queues_);
  made->queues_->Start();
  made->spare_readers_ = std::make_unique<SpareReaders>(
      made->queues_->arrivals(), kSpareReaders,
      SpareReaders::Work{.used = ProcessorTime,
                         .refused = RefusedCalls(gate),
                         .also = [&queues = *made->queues_] { queues.RunSome(); }});
  made->spare_readers_->Start();
  return made;
}

GrpcServer::~GrpcServer() { Shutdown(SteadyNow()); }

void GrpcServer::Shutdown(absl::Time deadline) {
  if (server_ == nullptr) return;
  health_.Drain();
  server_->Shutdown(absl::ToChronoTime(WallNow() + (deadline - SteadyNow())));
  if (spare_readers_ != nullptr) spare_readers_->Stop();
  queues_->Shutdown();
  server_.reset();
}

}  // namespace finetune
