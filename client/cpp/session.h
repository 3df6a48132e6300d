// What a client has seen at one gateway it also finds at the next.
#pragma once

#include <grpcpp/support/client_interceptor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "client/cpp/sync.h"

namespace finetune::inline client {

// The newest token of a session (metadata `finetune-session`): the number before its dot grows with
// what the gateways have committed; the rest is theirs alone. Thread-safe. Outlives the calls of
// its channel.
class Session {
 public:
  // Empty before the first.
  std::string token() const ABSL_LOCKS_EXCLUDED(mu_);
  // The token of an answer. `lost`: what the earlier token stands for is gone, so this one counts.
  void Take(const std::string& token, bool lost) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable ClientMutex mu_;
  std::string token_ ABSL_GUARDED_BY(mu_);
  uint64_t number_ ABSL_GUARDED_BY(mu_) = 0;
};

// Sends the session's token with each call of a channel that is not a stream, and takes the
// session's new one from the answer.
std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface> MakeSessionInterceptors();

}  // namespace finetune::inline client
