#pragma once

#include <grpcpp/server_context.h>

#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/recorder.h"
#include "server/service/calls/unary_call.h"

namespace finetune {

// What a client and the gateways tell each other, so that what a client has seen or written at one
// gateway is there at the next: in a request's metadata the newest token that it has, or nothing,
// and in the answer's initial metadata one that covers the answer: of two, the newer one has the
// greater number before its dot.
inline constexpr const char* kSessionKey = "finetune-session";
// "1" in the answer's initial metadata if what the token stands for was lost, as a failover may
// lose it: the answer is from what is there.
inline constexpr const char* kSessionLostKey = "finetune-session-lost";

// Keeps sessions, for those who send a token. Thread-safe; outlived by what it is made of.
class Sessions {
 public:
  Sessions(Catalog& catalog, Recorder& recorder) : catalog_(catalog), recorder_(recorder) {}

  // Runs `answer` on a thread of the call's once the view has what the call's token stands for: at
  // once if it does, or if there is none. UNAVAILABLE / STORE_UNAVAILABLE if that cannot be told,
  // INVALID_ARGUMENT / RESUME_TOKEN_INVALID for what is no token.
  void Enter(UnaryCall& call, absl::AnyInvocable<void() &&> answer);
  // Whether the view may have yet to come to what a stream's token stands for.
  bool MayBeAhead(const grpc::ServerContextBase& context) const;

 private:
  Catalog& catalog_;
  Recorder& recorder_;
};

// A request's metadata; nullopt if there is none of that key.
std::optional<std::string> MetadataOf(const grpc::ServerContextBase& context, const char* key);

}  // namespace finetune
