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

// Threads that take a queue's events, and thereby read sockets, while the queue's own threads do
// not get to it. gRPC reads from a connection as long as it has more, parses it there and then, and
// reads from no other connection meanwhile: one client that sends without end would keep a thread
// busy and all others waiting. Unless the threads are idle, "calls-guard" checks 20 times a second
// whether an event of its own is taken at once, that is, before they have used much of the
// processor, for which they may have to wait; one spare thread after another helps until it is. As
// many such connections as there are threads in all could still keep all of them busy.
//
// One also helps while many calls are refused: a client that sends more than it may sends hundreds
// at once, too few to be noticed by the above, and others wait for them. It does not help all the
// time, because threads pass the waiting for sockets to each other at each event.
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
  // Idempotent. Something else must take the queue's events until this returns.
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
