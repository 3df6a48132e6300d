#include "server/service/watches/watch_stream.h"

#include <grpcpp/alarm.h>

#include <memory>
#include <optional>
#include <utility>

#include "server/service/calls/grpc_status.h"
#include "server/service/calls/queue_event.h"

namespace finetune {
namespace {

// A watcher's sink as a stream of gRPC's: passes on what the hub says, and nothing else. The hub
// keeps gRPC's rules: one write at a time, and one Finish, on every path.
//
// From when it came until it ends, all of a stream's events happen on its queue's thread, so that
// none is before what another has set.
class WatchStream final : public WatchSink {
 public:
  explicit WatchStream(const WatchRoute& route) : route_(route), home_(route.watch_queues.Next()) {}

  void Accept() {
    route_.call_queues.calls()->Enter();
    context_.AsyncNotifyWhenDone(&gone_);
    route_.method.Request(context_, request_, writer_, queue(), route_.call_queues.arrivals(),
                          &arrived_);
  }

  // WatchSink. After Write and Finish this may be gone.
  void Write(const grpc::ByteBuffer& message) override { writer_.Write(message, &written_); }
  void Finish(absl::Status status) override {
    status_ = std::move(status);
    writer_.Finish(ToGrpcStatus(status_), &finished_);
  }
  void Abort() override { context_.TryCancel(); }

 private:
  class Event final : public QueueEvent {
   public:
    Event(WatchStream& stream, void (WatchStream::*react)(bool)) : stream_(stream), react_(react) {}
    void OnEvent(bool ok) override { (stream_.*react_)(ok); }

   private:
    WatchStream& stream_;
    void (WatchStream::*const react_)(bool);
  };

  // On the thread of arrivals. If not ok, the server shuts down and there is no call.
  void OnArrived(bool ok) {
    if (!ok) return Leave();
    AcceptWatch(route_);
    to_queue_.emplace();
    to_queue_->Set(&queue(), gpr_inf_past(GPR_CLOCK_MONOTONIC), &begun_);
  }

  void OnBegun(bool) {
    to_queue_.reset();
    auto look = route_.method.Admit(context_, request_, done_, lasting_);
    request_.Clear();
    if (!look.ok()) return Finish(look.status());
    look_ = *std::move(look);
    auto spec = look_();
    if (!route_.method.MayLag(context_, spec)) return Watch(std::move(spec));
    route_.method.CatchUp([this](absl::Status status) {
      caught_up_status_ = std::move(status);
      to_queue_.emplace();
      to_queue_->Set(&queue(), gpr_inf_past(GPR_CLOCK_MONOTONIC), &caught_up_);
    });
  }

  void OnCaughtUp(bool) {
    to_queue_.reset();
    if (!caught_up_status_.ok()) return Finish(caught_up_status_);
    Watch(look_());
  }

  void Watch(absl::StatusOr<WatchSpec> spec) {
    if (!spec.ok()) return Finish(spec.status());
    auto watcher = route_.hub.Watch(*std::move(spec), this, home_);
    if (!watcher.ok()) return Finish(watcher.status());
    watcher_ = *std::move(watcher);
    // The client may have gone while the record was read for others' commits.
    if (is_gone_ && context_.IsCancelled()) watcher_->Cancel();
    if (lasting_ != nullptr)
      lasting_->OnRevokedDo([watcher = watcher_](const absl::Status& why) { watcher->End(why); });
  }

  void OnWritten(bool ok) { watcher_->OnWriteDone(ok); }

  void OnGone(bool) {
    is_gone_ = true;
    if (is_finished_) {
      Leave();
    } else if (watcher_ != nullptr && context_.IsCancelled()) {
      watcher_->Cancel();
    }
  }

  void OnFinished(bool) {
    is_finished_ = true;
    std::move(done_)(status_);
    if (is_gone_) Leave();
  }

  // The last thing that the stream does.
  void Leave() {
    const std::shared_ptr<CallCount> calls = route_.call_queues.calls();
    delete this;
    calls->Leave();
  }

  grpc::CompletionQueue& queue() { return route_.watch_queues.queue(home_); }

  // Constant after construction.
  const WatchRoute route_;
  const size_t home_;  // The number of its queue, and of the hub's thread that waits on it.

  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  grpc::ServerAsyncWriter<grpc::ByteBuffer> writer_{&context_};
  std::optional<grpc::Alarm> to_queue_;

  Event arrived_{*this, &WatchStream::OnArrived};
  Event begun_{*this, &WatchStream::OnBegun};
  Event caught_up_{*this, &WatchStream::OnCaughtUp};
  Event written_{*this, &WatchStream::OnWritten};
  Event gone_{*this, &WatchStream::OnGone};
  Event finished_{*this, &WatchStream::OnFinished};

  // Used on the queue's thread only.
  std::shared_ptr<Watcher> watcher_;  // Null if it was refused.
  WatchStreamDone done_;
  WatchMethod::Look look_;
  std::shared_ptr<LastingCall> lasting_;
  absl::Status caught_up_status_;
  bool is_gone_ = false;
  bool is_finished_ = false;

  absl::Status status_;  // Set by Finish.
};

}  // namespace

void AcceptWatch(const WatchRoute& route) { (new WatchStream(route))->Accept(); }

}  // namespace finetune
