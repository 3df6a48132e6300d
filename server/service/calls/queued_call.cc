#include "server/service/calls/queued_call.h"

namespace finetune {

void QueuedCall::Ask(grpc::ServerContext& context) {
  context_ = &context;
  queues_.calls()->Enter();
  context.AsyncNotifyWhenDone(static_cast<QueueEvent*>(&gone_));
  Request(arrived_.Begin());
}

void QueuedCall::Arrive(bool ok) {
  // Not ok: the server shuts down, and there is no call.
  if (!ok) return;
  Hold();  // For gone_, of which is told from now on.
  OnArrived();
  Pass(kArrived);
}

void QueuedCall::Pass(Milestone milestone) {
  const int before = passed_.fetch_or(milestone);
  if (before != 0) {
    OnGone(context_->IsCancelled());
    Release();
  }
}

void QueuedCall::Release() {
  if (holds_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  CallCount* const calls = queues_.calls().get();  // The queues join this thread before they go.
  delete this;
  calls->Leave();
}

}  // namespace finetune
