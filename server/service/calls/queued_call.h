#pragma once

#include <grpcpp/server_context.h>

#include <atomic>

#include "server/service/calls/call_queues.h"
#include "server/service/calls/queue_event.h"

namespace finetune {

// A call that completion queues report on. It is requested before it arrives, and owns itself: it
// is gone once the server has said how it ended, all of its operations have ended, and its
// OnArrived has returned; or when the server shuts down before the call arrived. A queue may have
// several threads, so the ends of operations may be reported on any of them, at the same time.
class QueuedCall {
 public:
  QueuedCall(const QueuedCall&) = delete;
  QueuedCall& operator=(const QueuedCall&) = delete;

 protected:
  // One kind of operation, of which at most one is under way.
  template <typename Owner>
  class Operation final : public QueueEvent {
   public:
    // `react(ok)` is told of the end of each.
    Operation(Owner& owner, void (Owner::*react)(bool ok)) : owner_(owner), react_(react) {}

    // The tag for one, which gRPC is to begin now. The call lives until it has ended.
    void* Begin() {
      Expect();
      return tag();
    }
    // The same in two steps: the call already lives until it has ended, and will have begun.
    void Expect() { owner_.Hold(); }
    void* tag() { return static_cast<QueueEvent*>(this); }
    void OnEvent(bool ok) override {
      (owner_.*react_)(ok);
      owner_.Release();
    }

   private:
    Owner& owner_;
    void (Owner::*const react_)(bool ok);
  };

  explicit QueuedCall(CallQueues& queues) : queues_(queues) {}
  virtual ~QueuedCall() = default;

  CallQueues& queues() const { return queues_; }
  grpc::ServerCompletionQueue& arrivals() const { return queues_.arrivals(); }

  // Requests the call. The maker calls it once.
  void Ask(grpc::ServerContext& context);
  // Asks the server for it; `tag` is for the queue of arrivals.
  virtual void Request(void* tag) = 0;
  // It arrived: time to request the next one.
  virtual void OnArrived() = 0;
  // The call is over for gRPC; `cancelled` if the client went, its deadline passed, or it was
  // cancelled here, rather than answered. After OnArrived has returned, never within it.
  virtual void OnGone(bool cancelled) {}

 private:
  // What gRPC tells of every call besides its operations.
  class Gone final : public QueueEvent {
   public:
    explicit Gone(QueuedCall& call) : call_(call) {}
    void OnEvent(bool) override { call_.Pass(kGone); }

   private:
    QueuedCall& call_;
  };
  enum Milestone : int { kArrived = 1, kGone = 2 };

  void Arrive(bool ok);
  // Whichever comes second calls OnGone.
  void Pass(Milestone milestone);
  void Hold() { holds_.fetch_add(1, std::memory_order_relaxed); }
  void Release();

  CallQueues& queues_;
  grpc::ServerContext* context_ = nullptr;
  Operation<QueuedCall> arrived_{*this, &QueuedCall::Arrive};
  Gone gone_{*this};
  std::atomic<int> holds_ = 0;
  std::atomic<int> passed_ = 0;
};

}  // namespace finetune
