#pragma once

#include <grpcpp/completion_queue.h>
#include <grpcpp/server_builder.h>

#include <atomic>
#include <memory>
#include <vector>

#include "server/base/thread.h"
#include "server/base/turn_queue.h"
#include "server/service/calls/arrival_turns.h"

namespace finetune {

// A completion queue on which nobody waits for sockets: they are read by the threads of arrivals.
std::unique_ptr<grpc::CompletionQueue> MakeQuietQueue();

// How many calls have been requested from gRPC and have not ended. Thread-safe; shared by all that
// count.
class CallCount {
 public:
  void Enter() { calls_.fetch_add(1, std::memory_order_relaxed); }
  void Leave() {
    if (calls_.fetch_sub(1, std::memory_order_acq_rel) == 1) calls_.notify_all();
  }
  void WaitForNone() const {
    for (int calls = calls_; calls > 0; calls = calls_) calls_.wait(calls);
  }

 private:
  std::atomic<int> calls_ = 0;
};

// The completion queues on which gRPC reports that calls arrive and how they go on, and the threads
// that serve them. Tags are QueueEvents. Start and Shutdown are for the server's owner; the rest is
// thread-safe.
//
// This is not gRPC's callback API, whose own threads (at least two) pass the waiting for sockets to
// each other with each event, and sleep for 100 ms at a time after a second without work. A single
// thread serves a get for three quarters of their CPU: tests/bench/RESULTS.md.
class CallQueues {
 public:
  // For the server that `builder` will make; this many threads read sockets and run handlers.
  CallQueues(grpc::ServerBuilder& builder, int threads);
  // Destroy it after Shutdown, or if the server could not be built.
  ~CallQueues();

  // Call it after the server was built.
  void Start();
  // Call it after the server's Shutdown. Waits until no call is left, neither one that arrived nor
  // one that was requested and did not. Idempotent.
  void Shutdown();

  // Counts the calls that use the queues, or anything else that goes once the server is shut down:
  // from before they are requested until they are gone.
  const std::shared_ptr<CallCount>& calls() const { return calls_; }

  // Runs some of the calls that wait for their turn, for a thread that helps those of the queues.
  void RunSome();

  // Where every call arrives, and short ones end.
  grpc::ServerCompletionQueue& arrivals() { return *arrivals_; }
  // Handles what takes longer than a look into memory, so that the threads that read sockets need
  // not.
  TurnQueue& aside() { return aside_; }
  // For calls that wait, of which there may be many: each always has an operation under way, and a
  // queue of a gRPC that was built with assertions, as Debian's is, walks past all of them at the
  // end of each.
  grpc::CompletionQueue& waits() { return *waits_; }

 private:
  void ServeArrivals();
  // Takes what has come, and runs some of it in turn. False once there was little to take and
  // nothing is left to run.
  bool TakeTurns();

  const int threads_;
  const std::unique_ptr<grpc::ServerCompletionQueue> arrivals_;
  const std::unique_ptr<grpc::CompletionQueue> waits_;
  const std::shared_ptr<CallCount> calls_ = std::make_shared<CallCount>();
  TurnQueue aside_{"handlers"};
  ArrivalTurns turns_;
  std::vector<std::unique_ptr<Thread>> running_;
  bool shut_down_ = false;
};

}  // namespace finetune
