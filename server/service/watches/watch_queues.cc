#include "server/service/watches/watch_queues.h"

#include "server/service/calls/call_queues.h"
#include "server/service/calls/queue_event.h"

namespace finetune {
WatchQueue::WatchQueue() : queue_(MakeQuietQueue()) {}

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
  // The alarm can be set again only once it has fired.
  if (!woken_.exchange(true)) alarm_.Set(queue_.get(), gpr_inf_past(GPR_CLOCK_MONOTONIC), this);
}

WatchQueues::WatchQueues(int count) {
  for (int i = 0; i < count; ++i) queues_.push_back(std::make_shared<WatchQueue>());
}

}  // namespace finetune
