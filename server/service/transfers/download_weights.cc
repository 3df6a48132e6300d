#include "server/service/transfers/download_weights.h"

#include <memory>
#include <utility>

#include "server/service/calls/grpc_status.h"
#include "server/service/calls/queued_call.h"

namespace finetune {
namespace {

// gRPC's side: passes on what happens, and does what it is told.
class DownloadCall final : public QueuedCall, private DownloadReceiver {
 public:
  DownloadCall(const DownloadMethod& method, CallQueues& queues)
      : QueuedCall(queues), method_(method) {}

  void Accept() { Ask(context_); }

  // DownloadReceiver.
  void Write(const grpc::ByteBuffer& message) override { writer_.Write(message, written_.Begin()); }
  void Abort() override { context_.TryCancel(); }
  void End(const absl::Status& status) override {
    status_ = status;
    writer_.Finish(ToGrpcStatus(status), finished_.tag());
  }

 private:
  // QueuedCall.
  void Request(void* tag) override { method_.ask(context_, request_, writer_, arrivals(), tag); }
  void OnArrived() override;
  void OnGone(bool cancelled) override {
    if (cancelled && download_ != nullptr)
      download_->Fail(absl::CancelledError("the client is gone"));
  }

  void OnWritten(bool ok) { download_->OnWritten(ok); }
  void OnFinished(bool) {
    std::move(done_)(status_, download_ != nullptr ? download_->messages() : 0);
  }

  const DownloadMethod& method_;
  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  DownloadMethod::Writer writer_{&context_};
  DownloadDone done_;
  std::shared_ptr<Download> download_;  // Null if it was refused.
  absl::Status status_;                 // Set by End.
  Operation<DownloadCall> written_{*this, &DownloadCall::OnWritten};
  Operation<DownloadCall> finished_{*this, &DownloadCall::OnFinished};
};

void DownloadCall::OnArrived() {
  AcceptDownload(method_, queues());
  finished_.Expect();  // It is answered, whatever happens.
  auto admitted = method_.admit(context_, request_, done_);
  request_.Clear();
  if (!admitted.ok()) return End(admitted.status());
  download_ = std::make_shared<Download>(admitted->transfers, std::move(admitted->spec),
                                         static_cast<DownloadReceiver&>(*this));
  download_->Begin();
  admitted->lasting->OnRevokedDo(
      [download = download_](const absl::Status& why) { download->Fail(why); });
}

}  // namespace

void AcceptDownload(const DownloadMethod& method, CallQueues& queues) {
  (new DownloadCall(method, queues))->Accept();
}

}  // namespace finetune
