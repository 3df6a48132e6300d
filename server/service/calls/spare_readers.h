#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "server/base/mutex.h"
#include "server/base/thread.h"
#include "server/service/calls/queue_event.h"

namespace finetune {

// Threads that take a queue's events, and with them read sockets, while those whose work that is do
// not come to it. GRPC reads from a connection as long as it has more, parses it there and then,
// and reads from no other meanwhile: one client that sends without end would keep a thread for
// itself, and all others waiting. "calls-guard" looks 20 times a second whether an event of its own
// is taken at once, unless the threads are idle; one spare thread after another helps until it is.
// At once: before they have used much of the processor, for which they may have to wait. As many
// connections as there are threads in all could still keep all of them.
//
// One also helps while many calls are refused: whoever sends more than it may sends hundreds at
// once, which are too few to be noticed so, and others wait for them. It does not help always,
// because threads hand the waiting for sockets to each other at each event.
//
// Start and Stop are for the owner, Stop before the queue is shut down; the rest is its own.
class SpareReaders {
 public:
  // What it looks at, and does besides. Any thread.
  struct Work {
    // The processor time so far of all that may be busy with the queue.
    std::function<absl::Duration()> used;
    // How many calls were refused so far because their callers had what they may have.
    std::function<int64_t()> refused;
    // What else those whose work it is do after each event.
    std::function<void()> also;
  };

  SpareReaders(grpc::CompletionQueue& queue, int most, Work work);
  ~SpareReaders() { Stop(); }

  void Start();
  // Idempotent. Somebody takes the queue's events until this returns.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  class Ping final : public QueueEvent {
   public:
    explicit Ping(SpareReaders& owner) : owner_(owner) {}
    void OnEvent(bool) override { owner_.OnPing(); }

   private:
    SpareReaders& owner_;
  };

  // Whether one is to help however soon events are taken.
  bool ManyRefused();
  void Guard() ABSL_LOCKS_EXCLUDED(mu_);
  // True if it is to go on after so long.
  bool Sleep(absl::Duration time) ABSL_LOCKS_EXCLUDED(mu_);
  // Has events taken, by more and more threads, until its own was; whether that was at once.
  bool Try() ABSL_LOCKS_EXCLUDED(mu_);
  // Whether it was taken within so long.
  bool AwaitPing(absl::Duration time) ABSL_LOCKS_EXCLUDED(mu_);
  void OnPing() ABSL_LOCKS_EXCLUDED(mu_);
  void Help(int number) ABSL_LOCKS_EXCLUDED(mu_);
  bool AwaitNeed(int number) ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  grpc::CompletionQueue& queue_;
  const int most_;
  const Work work_;

  // Guard's thread only.
  Ping ping_{*this};
  grpc::Alarm alarm_;
  int64_t refused_ = 0;  // When it was looked last.

  Mutex mu_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool pinging_ ABSL_GUARDED_BY(mu_) = false;
  int wanted_ ABSL_GUARDED_BY(mu_) = 0;  // How many help.
  bool ended_ ABSL_GUARDED_BY(mu_) = false;

  std::vector<std::unique_ptr<Thread>> spare_;
  std::unique_ptr<Thread> guard_;
};

}  // namespace finetune
