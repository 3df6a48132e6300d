#include "server/service/calls/call_queues.h"

#include <grpc/grpc.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/service/calls/queue_event.h"

namespace finetune {
namespace {

// How many events are taken before a look whether more wait. If none do, the look polls the sockets
// for nothing.
constexpr int kLookEvery = 32;
// How many calls are gathered before some of them are run, and how many these are. Whoever calls
// seldom stands in gRPC's queue behind all that others have sent, so that this is to be shorter
// than the lines here.
constexpr int kGathered = 64;
constexpr int kRun = 8;
// The most events, of any kind, that are taken to gather calls.
constexpr int kEvents = 4 * kGathered;

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
        std::make_unique<Thread>(absl::StrCat("calls-", i), [this] { ServeArrivals(); }));
  running_.push_back(std::make_unique<Thread>("waits", [this] {
    void* tag = nullptr;
    bool ok = false;
    while (waits_->Next(&tag, &ok)) static_cast<QueueEvent*>(tag)->OnEvent(ok);
  }));
}

void CallQueues::ServeArrivals() {
  void* tag = nullptr;
  bool ok = false;
  for (int events = 1; arrivals_->Next(&tag, &ok); ++events) {
    static_cast<QueueEvent*>(tag)->OnEvent(ok);
    if (events % kLookEvery != 0 || !ArrivalTurns::HasSeveralCallers()) continue;
    while (TakeTurns()) continue;
  }
}

bool CallQueues::TakeTurns() {
  void* tag = nullptr;
  bool ok = false;
  bool many = false;
  {
    ArrivalTurns::Gathering gathering(turns_);
    const gpr_timespec at_once = gpr_inf_past(GPR_CLOCK_MONOTONIC);
    for (int events = 0;
         events < kEvents && gathering.arrivals() < kGathered &&
         arrivals_->AsyncNext(&tag, &ok, at_once) == grpc::CompletionQueue::GOT_EVENT;
         ++events)
      static_cast<QueueEvent*>(tag)->OnEvent(ok);
    many = gathering.arrivals() > 1;
  }
  return turns_.RunSome(kRun) || many;
}

void CallQueues::RunSome() { turns_.RunSome(kRun); }

void CallQueues::Shutdown() {
  if (std::exchange(shut_down_, true)) return;
  calls_->WaitForNone();
  aside_.Stop();
  arrivals_->Shutdown();
  waits_->Shutdown();
  for (const auto& thread : running_) thread->Join();
}

}  // namespace finetune
