#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/async_unary_call.h>
#include <grpcpp/support/byte_buffer.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "google/protobuf/message_lite.h"
#include "server/base/mutex.h"
#include "server/service/calls/call_gate.h"
#include "server/service/calls/queued_call.h"

namespace finetune {

class UnaryCall;

// A unary method: how its calls are asked for, and what they do.
struct UnaryMethod {
  using Writer = grpc::ServerAsyncResponseWriter<grpc::ByteBuffer>;

  Method method;
  // Requests a call from the server: `arrivals` reports it with `tag`, `queue` everything after
  // that.
  std::function<void(grpc::ServerContext& context, grpc::ByteBuffer& request, Writer& writer,
                     grpc::CompletionQueue& queue, grpc::ServerCompletionQueue& arrivals,
                     void* tag)>
      ask;
  // Reads an admitted call's request and answers it.
  std::function<void(const grpc::ByteBuffer& request, UnaryCall& call)> handle;
  // Requests with more bytes are handled on another thread, where callers take turns, because they
  // take longer than a look into memory, and gets of others wait for the threads that read sockets.
  size_t aside_beyond = SIZE_MAX;
};

// Where the calls of a method come from; everything in it outlives them.
struct UnaryRoute {
  const UnaryMethod& method;
  CallGate& gate;
  CallQueues& queues;
  grpc::CompletionQueue& queue;  // Reports on the call once it has arrived.
};

// One unary call: gRPC's side of it, and what a handler sees. It owns itself. The handler answers
// exactly once, at once or later, on any thread; once it has answered and returned it does not
// touch the call again. It counts as handled once the client, or the network, has its answer.
//
// The threads of the call's queue send the answers: a handler that answers from another thread
// writes to no socket, so that gRPC, which passes work to yet another thread when two meet at a
// connection, has no reason to do so.
class UnaryCall final : public QueuedCall, private ArrivalTurns::Arrival {
 public:
  // Requests a call, and the next one as soon as it has arrived. When it is its caller's turn, it
  // is admitted and handled, or refused and answered.
  static void Accept(const UnaryRoute& route);

  const Caller& caller() const { return *call_.caller; }
  absl::Time start() const { return call_.start; }
  absl::Time deadline() const { return call_.deadline; }
  absl::Time answer_by() const { return call_.answer_by(); }
  const TraceContext& trace() const { return call_.span.context(); }
  const std::shared_ptr<CallerUse>& sharer() const { return call_.caller->use; }

  // For its metadata: that of the answer before it is answered, on a thread of the call's.
  grpc::ServerContextBase& context() { return context_; }
  // Runs just before the answer is sent.
  void OnAnswerDo(absl::AnyInvocable<void(grpc::ServerContextBase&) &&> action) {
    on_answer_ = std::move(action);
  }

  // For the log.
  void SetFineTune(std::string name) { call_.fine_tune = std::move(name); }
  // Runs once if the client goes or its deadline passes: within this, if that has happened. From
  // the handler or a step; replaces what was to be done before.
  void OnCancelDo(absl::AnyInvocable<void() &&> action) ABSL_LOCKS_EXCLUDED(mu_);

  // For calls that may last: runs once if the caller may no longer make it; `revoked` then says
  // why.
  void OnRevokedDo(LastingCall::End action) { call_.lasting->OnRevokedDo(std::move(action)); }
  absl::Status revoked() const { return call_.lasting->revoked(); }

  // Sends it after the answer. Before that is given.
  void AddTrailingMetadata(const std::string& key, const std::string& value) {
    context_.AddTrailingMetadata(key, value);
  }

  // Takes more of what callers share, until the call ends.
  absl::Status Take(Share share, int64_t amount = 1) {
    return route_.gate.Take(call_, share, amount);
  }

  void Reply(const google::protobuf::MessageLite& message);
  void ReplyBytes(const grpc::ByteBuffer& bytes);
  void Fail(const absl::Status& status);

  // Runs `step`, which may answer, on a thread of the call's queue. At most one at a time.
  void Later(absl::AnyInvocable<void() &&> step);

 private:
  explicit UnaryCall(const UnaryRoute& route) : QueuedCall(route.queues), route_(route) {}

  // QueuedCall.
  void Request(void* tag) override;
  void OnArrived() override;
  void OnGone(bool cancelled) override;
  // ArrivalTurns::Arrival.
  void OnTurn() override;

  absl::Status Enter() ABSL_LOCKS_EXCLUDED(mu_);
  void OnLater(bool);
  void OnFinished(bool sent);
  void OnHandledAside(bool) {}
  void OnTurnEnded(bool) {}

  void HandleAside();
  // Runs `step` as the call that this thread is at.
  template <typename Step>
  void RunHere(Step step);
  bool IsHere() const;

  const UnaryRoute route_;
  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  UnaryMethod::Writer writer_{&context_};
  Call call_;
  absl::Status known_;  // Whether it is known whose it is.
  Mutex mu_;
  absl::AnyInvocable<void() &&> on_cancel_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  absl::AnyInvocable<void() &&> later_;
  absl::AnyInvocable<void(grpc::ServerContextBase&) &&> on_answer_;
  std::optional<grpc::Alarm> alarm_;
  absl::Status answer_;  // What it was answered with.
  UntakenAnswers::Place untaken_;
  Operation<UnaryCall> later_event_{*this, &UnaryCall::OnLater};
  Operation<UnaryCall> turn_{*this, &UnaryCall::OnTurnEnded};
  Operation<UnaryCall> aside_{*this, &UnaryCall::OnHandledAside};
  Operation<UnaryCall> finished_{*this, &UnaryCall::OnFinished};
};

}  // namespace finetune
