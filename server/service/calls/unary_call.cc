#include "server/service/calls/unary_call.h"

#include <utility>

#include "server/service/calls/grpc_status.h"
#include "server/service/calls/message_bytes.h"

namespace finetune {
namespace {

// The call whose handler or step runs on this thread.
thread_local const UnaryCall* here = nullptr;

}  // namespace

void UnaryCall::Accept(const UnaryRoute& route) {
  auto* call = new UnaryCall(route);
  call->Ask(call->context_);
}

void UnaryCall::Request(void* tag) {
  route_.method.ask(context_, request_, writer_, route_.queue, arrivals(), tag);
}

void UnaryCall::OnArrived() {
  Accept(route_);
  finished_.Expect();  // It is answered, whatever happens.
  turn_.Expect();      // The handler may use it after it has answered.
  known_ = route_.gate.Begin(route_.method.method, &context_, call_);
  ArrivalTurns::RunInTurn(call_.caller == nullptr ? nullptr : sharer().get(), *this);
}

void UnaryCall::OnTurn() {
  RunHere([this] {
    if (absl::Status status = Enter(); !status.ok()) return Fail(status);
    if (request_.Length() > route_.method.aside_beyond) return HandleAside();
    route_.method.handle(request_, *this);
    request_.Clear();
  });
  turn_.OnEvent(true);
}

absl::Status UnaryCall::Enter() {
  if (!known_.ok()) return std::exchange(known_, absl::OkStatus());
  {
    MutexLock lock(mu_);
    if (cancelled_)
      return absl::CancelledError(
          "the client went, or its deadline passed, before it was its turn");
  }
  return route_.gate.Enter(call_);
}

void UnaryCall::HandleAside() {
  aside_.Expect();  // The handler may use it after it has answered.
  queues().aside().Post(sharer().get(), [this] {
    route_.method.handle(request_, *this);
    request_.Clear();
    aside_.OnEvent(true);
  });
}

template <typename Step>
void UnaryCall::RunHere(Step step) {
  const UnaryCall* const outer = std::exchange(here, this);
  step();
  here = outer;
}

bool UnaryCall::IsHere() const { return here == this; }

void UnaryCall::Later(absl::AnyInvocable<void() &&> step) {
  later_ = std::move(step);
  if (!alarm_) alarm_.emplace();
  alarm_->Set(&route_.queue, gpr_inf_past(GPR_CLOCK_MONOTONIC), later_event_.Begin());
}

void UnaryCall::OnLater(bool) {
  RunHere([this] { std::exchange(later_, nullptr)(); });
}

void UnaryCall::OnCancelDo(absl::AnyInvocable<void() &&> action) {
  {
    MutexLock lock(mu_);
    if (!cancelled_) {
      on_cancel_ = std::move(action);
      return;
    }
  }
  std::move(action)();
}

void UnaryCall::OnGone(bool cancelled) {
  if (!cancelled) return;
  absl::AnyInvocable<void() &&> action;
  {
    MutexLock lock(mu_);
    cancelled_ = true;
    action = std::exchange(on_cancel_, nullptr);
  }
  if (action) std::move(action)();
}

void UnaryCall::Reply(const google::protobuf::MessageLite& message) {
  ReplyBytes(WriteMessage(message));
}

void UnaryCall::ReplyBytes(const grpc::ByteBuffer& bytes) {
  if (!IsHere()) return Later([this, bytes] { ReplyBytes(bytes); });
  if (absl::Status room = route_.gate.TakeForAnswer(call_, bytes.Length()); !room.ok())
    return Fail(room);
  if (on_answer_) std::exchange(on_answer_, nullptr)(context_);
  route_.gate.untaken_answers().Add(untaken_, context_);
  writer_.Finish(bytes, grpc::Status::OK, finished_.tag());
}

void UnaryCall::Fail(const absl::Status& status) {
  if (!IsHere()) return Later([this, status] { Fail(status); });
  answer_ = status;
  if (on_answer_) std::exchange(on_answer_, nullptr)(context_);
  route_.gate.untaken_answers().Add(untaken_, context_);
  writer_.FinishWithError(ToGrpcStatus(status), finished_.tag());
}

void UnaryCall::OnFinished(bool sent) {
  route_.gate.untaken_answers().Remove(untaken_);
  const bool answered = answer_.ok();
  if (answered && !sent) answer_ = absl::CancelledError("the client did not take the answer");
  route_.gate.End(call_, answer_, answered && sent ? 1 : 0);
}

}  // namespace finetune
