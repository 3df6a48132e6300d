#include "server/service/calls/call_queues.h"

#include <grpc/grpc.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/service/calls/queue_event.h"

namespace finetune {
namespace {

void Run(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  while (queue.Next(&tag, &ok)) static_cast<QueueEvent*>(tag)->OnEvent(ok);
}

}  // namespace

std::unique_ptr<grpc::CompletionQueue> MakeQuietQueue() {
  const grpc_completion_queue_attributes attributes{GRPC_CQ_CURRENT_VERSION, GRPC_CQ_NEXT,
                                                    GRPC_CQ_NON_POLLING, nullptr};
  return std::make_unique<grpc::CompletionQueue>(grpc_completion_queue_create(
      grpc_completion_queue_factory_lookup(&attributes), &attributes, nullptr));
}

CallQueues::CallQueues(grpc::ServerBuilder& builder, int threads)
    : threads_(threads), arrivals_(builder.AddCompletionQueue()), waits_(MakeQuietQueue()) {}

CallQueues::~CallQueues() { Shutdown(); }

void CallQueues::Start() {
  for (int i = 0; i < threads_; ++i)
    running_.push_back(
        std::make_unique<Thread>(absl::StrCat("calls-", i), [this] { Run(*arrivals_); }));
  running_.push_back(std::make_unique<Thread>("waits", [this] { Run(*waits_); }));
}

void CallQueues::Shutdown() {
  if (std::exchange(shut_down_, true)) return;
  calls_->WaitForNone();
  aside_.Stop();
  arrivals_->Shutdown();
  waits_->Shutdown();
  for (const auto& thread : running_) thread->Join();
}

}  // namespace finetune
