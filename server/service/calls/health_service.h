#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/base/mutex.h"
#include "server/service/calls/call_queues.h"

namespace finetune {

// gRPC's standard health service, for the server as a whole (the empty name) and for each of its
// services that is named here; all have the same state. gRPC's own implementation would bring the
// threads of the callback API with it (CallQueues). Thread-safe.
class HealthService final
    : public grpc::health::v1::Health::WithAsyncMethod_Check<
          grpc::health::v1::Health::WithAsyncMethod_Watch<grpc::health::v1::Health::Service>> {
 public:
  explicit HealthService(std::vector<std::string> services);
  ~HealthService() override;

  // Takes calls from now on. Call it once the server that it is registered with has been built.
  void Accept(CallQueues& queues);
  // NOT_SERVING until it is called.
  void SetServing(bool serving) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends watches, so that the server can shut down. Idempotent.
  void Drain() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using Answer = grpc::health::v1::HealthCheckResponse;
  class CheckCall;
  class WatchCall;

  // SERVICE_UNKNOWN for those that it does not have.
  Answer::ServingStatus StatusOf(const std::string& service) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::vector<std::string> services_;

  mutable Mutex mu_;
  bool serving_ ABSL_GUARDED_BY(mu_) = false;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_set<WatchCall*> watches_ ABSL_GUARDED_BY(mu_);  // Those under way.
};

}  // namespace finetune
