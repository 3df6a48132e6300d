#include "server/service/watch_queues.h"

#include <grpc/grpc.h>

namespace finetune {
namespace {

// Its thread only waits: sockets are read by the threads of all other calls.
std::unique_ptr<grpc::CompletionQueue> MakeQueue() {
  const grpc_completion_queue_attributes attributes{GRPC_CQ_CURRENT_VERSION, GRPC_CQ_NEXT,
                                                    GRPC_CQ_NON_POLLING, nullptr};
  return std::make_unique<grpc::CompletionQueue>(grpc_completion_queue_create(
      grpc_completion_queue_factory_lookup(&attributes), &attributes, nullptr));
}

}  // namespace

WatchQueue::WatchQueue() : queue_(MakeQueue()) {}

WatchQueue::~WatchQueue() {
  queue_->Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
  }
}

void WatchQueue::Wait() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_->Next(&tag, &ok)) {
    if (tag == this) {
      woken_ = false;
      return;
    }
    static_cast<QueueEvent*>(tag)->OnEvent(ok);
  }
}

void WatchQueue::Wake() {
  // Once it has told, the alarm can be set again.
  if (!woken_.exchange(true)) alarm_.Set(queue_.get(), gpr_inf_past(GPR_CLOCK_MONOTONIC), this);
}

WatchQueues::WatchQueues(int count) {
  for (int i = 0; i < count; ++i) queues_.push_back(std::make_shared<WatchQueue>());
}

}  // namespace finetune
