#pragma once

#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/service/calls/call_gate.h"
#include "server/service/calls/call_queues.h"
#include "server/service/calls/health_service.h"
#include "server/service/calls/spare_readers.h"
#include "server/service/fine_tune_service.h"

namespace finetune {

// The gRPC listener with standard health and, on request, reflection and channelz. For its owner,
// the gateway, on one thread at a time: it finishes all streams and waits before Shutdown, which
// otherwise takes its whole deadline.
class GrpcServer {
 public:
  struct Options {
    std::string host;
    int port = 0;  // 0: any.
    std::shared_ptr<grpc::ServerCredentials> credentials;
    bool reflection = false;
    bool channelz = false;
    // How many threads read sockets and run handlers.
    int threads = 1;
  };

  // Listens and serves; health says NOT_SERVING at first. `service` and `gate` outlive it.
  // UNAVAILABLE, saying why, if it cannot listen.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const Options& options,
                                                           FineTuneService& service,
                                                           CallGate& gate);
  ~GrpcServer();

  int port() const { return port_; }
  // What health answers.
  void SetServing(bool serving) { health_.SetServing(serving); }
  // Stops taking calls, waits for those under way, and cancels what is left at the deadline.
  // Idempotent.
  void Shutdown(absl::Time deadline);

 private:
  class UnknownMethods;

  GrpcServer();

  HealthService health_;
  std::unique_ptr<UnknownMethods> unknown_methods_;
  std::unique_ptr<CallQueues> queues_;
  std::unique_ptr<SpareReaders> spare_readers_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace finetune
