#include "server/service/watch_stream.h"

#include <memory>
#include <utility>

#include "server/service/grpc_status.h"

namespace finetune {
namespace {

// A watcher's sink as a gRPC reactor: passes on what the hub says, and nothing else. The hub keeps
// gRPC's rules: one write at a time, and one Finish, on every path, after which OnDone comes.
//
// Start runs before the handler returns the reactor, and no reaction does: they see what it set.
class WatchStream : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public WatchSink {
 public:
  WatchStream(grpc::CallbackServerContext* context, WatchStreamDone done)
      : context_(context), done_(std::move(done)) {}

  void Start(WatchHub& hub, WatchSpec spec, LastingCall* lasting) {
    auto watcher = hub.Watch(std::move(spec), this);
    if (!watcher.ok()) return Finish(watcher.status());
    watcher_ = *std::move(watcher);
    if (lasting != nullptr)
      lasting->OnRevokedDo([watcher = watcher_](const absl::Status& why) { watcher->End(why); });
  }

  // WatchSink. After StartWrite and Finish this may be gone.
  void Write(const grpc::ByteBuffer& message) override {
    if (bound_) {
      StartWrite(&message);
      return;
    }
    // gRPC may have to wait for the handler to return it: then it reads the message later.
    first_ = message;
    StartWrite(&first_);
  }
  void Finish(absl::Status status) override {
    status_ = std::move(status);
    ServerWriteReactor::Finish(ToGrpcStatus(status_));
  }
  void Abort() override { context_->TryCancel(); }

  // Reactions.
  void OnWriteDone(bool ok) override {
    if (!bound_) {
      bound_ = true;
      first_.Clear();
    }
    watcher_->OnWriteDone(ok);
  }
  void OnCancel() override {
    if (watcher_ != nullptr) watcher_->Cancel();
  }
  void OnDone() override {
    if (done_) std::move(done_)(status_);
    delete this;
  }

 private:
  // Constant after construction.
  grpc::CallbackServerContext* const context_;

  // Set by Start.
  std::shared_ptr<Watcher> watcher_;

  // Whoever writes.
  bool bound_ = false;
  grpc::ByteBuffer first_;
  absl::Status status_;

  WatchStreamDone done_;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartWatchStream(WatchHub& hub, WatchSpec spec,
                                                             grpc::CallbackServerContext* context,
                                                             std::shared_ptr<LastingCall> lasting,
                                                             WatchStreamDone done) {
  auto* stream = new WatchStream(context, std::move(done));
  stream->Start(hub, std::move(spec), lasting.get());
  return stream;
}

}  // namespace finetune
