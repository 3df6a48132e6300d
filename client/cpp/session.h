// Makes sure that what a client has seen at one gateway it also sees at the next.
#pragma once

#include <grpcpp/support/client_interceptor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "client/cpp/sync.h"

namespace finetune::inline client {

// The newest token of a session (metadata `finetune-session`): the number before its dot grows with
// what the gateways have committed; the rest means something only to them. Thread-safe. Outlives
// the calls of its channel.
class Session {
 public:
  // Empty before the first answer.
  std::string token() const ABSL_LOCKS_EXCLUDED(mu_);
  // Takes the token of an answer. `lost`: the record no longer has what the earlier token stands
  // for, so this one replaces it.
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
