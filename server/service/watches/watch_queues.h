#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>

#include <atomic>
#include <memory>
#include <vector>

#include "server/jobs/watching/watch_waiter.h"

namespace finetune {

// A completion queue for watch streams, on which one of the hub's threads waits: the thread tells
// the streams of changes, and in between it hears how their operations ended. Thread-safe.
class WatchQueue final : public WatchWaiter {
 public:
  WatchQueue();
  // No stream is left.
  ~WatchQueue() override;

  // Handles events until it is woken.
  void Wait() override;
  void Wake() override;

  grpc::CompletionQueue& queue() { return *queue_; }

 private:
  const std::unique_ptr<grpc::CompletionQueue> queue_;
  std::atomic<bool> woken_ = false;
  grpc::Alarm alarm_;  // Whoever sets woken_.
};

// The queues of all watch streams.
//
// A queue of a gRPC that was built with assertions, as Debian's is, keeps a list of the operations
// under way and walks it at the end of each. A watch always has one under way: with ten thousand
// watches in the queue of all calls, each write and each call would walk past ten thousand. Here a
// write walks past its share of them, and no other call past any. tests/bench/RESULTS.md has the
// figures.
//
// Thread-safe.
class WatchQueues {
 public:
  explicit WatchQueues(int count);

  // For the hub, which may outlive this.
  std::vector<std::shared_ptr<WatchWaiter>> waiters() const {
    return {queues_.begin(), queues_.end()};
  }

  // Which queue the next stream is to have.
  size_t Next() { return next_++ % queues_.size(); }
  grpc::CompletionQueue& queue(size_t i) { return queues_[i]->queue(); }

 private:
  // Constant after construction.
  std::vector<std::shared_ptr<WatchQueue>> queues_;

  std::atomic<size_t> next_ = 0;
};

}  // namespace finetune
