#pragma once

#include <grpcpp/server_context.h>

#include <optional>
#include <string>

#include "absl/functional/any_invocable.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/recorder.h"
#include "server/service/calls/unary_call.h"

namespace finetune {

// The metadata by which a client sees at the next gateway what it has seen or written at the last
// one: a request has the newest token that the client knows, or an empty one, and the answer's
// initial metadata has one that covers the answer. The newer of two tokens has the greater number
// before its dot.
inline constexpr const char* kSessionKey = "finetune-session";
// "1" in the answer's initial metadata if what the token stands for was lost, as a failover may do:
// the answer then rests on what is left.
inline constexpr const char* kSessionLostKey = "finetune-session-lost";

// Keeps the sessions of clients that send a token. Thread-safe; what it is made with outlives it.
class Sessions {
 public:
  Sessions(Catalog& catalog, Recorder& recorder) : catalog_(catalog), recorder_(recorder) {}

  // Runs `answer` on a thread of the call's once the view has what the call's token stands for: at
  // once if it does, or if there is none. UNAVAILABLE / STORE_UNAVAILABLE if that cannot be told,
  // INVALID_ARGUMENT / RESUME_TOKEN_INVALID for what is no token.
  void Enter(UnaryCall& call, absl::AnyInvocable<void() &&> answer);
  // Whether the view may not have arrived yet at what a stream's token stands for.
  bool MayBeAhead(const grpc::ServerContextBase& context) const;

 private:
  // Tells with the answer whether what was `seen` is lost, and gives a token that covers it. If the
  // view loses something while the call is answered, nobody knows on which one the answer rests:
  // then its token is of what was lost, so that the next answer says so, too.
  void Answer(UnaryCall& call, const std::optional<ResumePoint>& seen);

  Catalog& catalog_;
  Recorder& recorder_;
};

// A request's metadata; nullopt if there is none of that key.
std::optional<std::string> MetadataOf(const grpc::ServerContextBase& context, const char* key);

}  // namespace finetune
