#pragma once

#include <grpcpp/server_context.h>

#include "absl/time/time.h"
#include "server/base/clock.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"

namespace finetune {

// Answers that gRPC has and their clients have yet to take. A client that does not read keeps the
// bytes of its answers in memory: gRPC ends its calls at their deadlines, which may be far away;
// this does so after half a minute. Thread-safe; outlives the server's calls; what it is made with
// outlives it.
class UntakenAnswers {
 public:
  // A place in the queue of one call, which owns it.
  class Place {
   private:
    friend class UntakenAnswers;
    grpc::ServerContextBase* context_ = nullptr;  // Null if it is not in.
    absl::Time until_;
    Place* before_ = nullptr;
    Place* after_ = nullptr;
  };

  UntakenAnswers(Clock& clock, Metrics& metrics);
  ~UntakenAnswers();

  // Cancels `context` if Remove does not follow in time.
  void Add(Place& place, grpc::ServerContextBase& context) ABSL_LOCKS_EXCLUDED(mu_);
  // Also for one that is not in.
  void Remove(Place& place) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Unlink(Place& place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CancelOverdue() ABSL_LOCKS_EXCLUDED(mu_);

  Clock& clock_;
  prometheus::Counter& cancelled_;

  Mutex mu_;
  // In the order of their ends, for all have the same patience.
  Place* first_ ABSL_GUARDED_BY(mu_) = nullptr;
  Place* last_ ABSL_GUARDED_BY(mu_) = nullptr;
  // Runs while there is any.
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = Clock::kNoTimer;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace finetune
