#include "server/service/transfers/download_weights.h"

#include <grpcpp/alarm.h>

#include <memory>
#include <optional>
#include <utility>

#include "server/base/mutex.h"
#include "server/service/calls/grpc_status.h"
#include "server/service/calls/queued_call.h"

namespace finetune {
namespace {

// The gRPC side of a download: passes events on and does what the Download says.
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
  void OnGone(bool cancelled) override;

  void OnCaughtUp(bool);
  void Begin(absl::StatusOr<AdmittedDownload> admitted);
  std::shared_ptr<Download> download() const {
    MutexLock lock(mu_);
    return download_;
  }
  void OnWritten(bool ok) { download()->OnWritten(ok); }
  void OnFinished(bool) {
    const auto download = this->download();
    std::move(done_)(status_, download != nullptr ? download->messages() : 0);
  }

  const DownloadMethod& method_;
  grpc::ServerContext context_;
  grpc::ByteBuffer request_;
  DownloadMethod::Writer writer_{&context_};
  DownloadDone done_;
  absl::Status status_;  // Set by End.
  // Kept to look once more, after others' commits have been read, for a job that is not in the
  // view.
  DownloadMethod::Look look_;
  std::optional<grpc::Alarm> to_queue_;
  absl::Status caught_up_status_;

  mutable Mutex mu_;
  std::shared_ptr<Download> download_ ABSL_GUARDED_BY(mu_);  // Null if it was refused.
  bool is_gone_ ABSL_GUARDED_BY(mu_) = false;

  Operation<DownloadCall> caught_up_{*this, &DownloadCall::OnCaughtUp};
  Operation<DownloadCall> written_{*this, &DownloadCall::OnWritten};
  Operation<DownloadCall> finished_{*this, &DownloadCall::OnFinished};
};

void DownloadCall::OnArrived() {
  AcceptDownload(method_, queues());
  finished_.Expect();  // It is answered, whatever happens.
  auto look = method_.admit(context_, request_, done_);
  request_.Clear();
  if (!look.ok()) return End(look.status());
  auto found = (*look)();
  if (!absl::IsNotFound(found.status()) || !method_.catch_up) return Begin(std::move(found));
  look_ = *std::move(look);
  caught_up_.Expect();
  method_.catch_up([this](absl::Status status) {
    caught_up_status_ = std::move(status);
    to_queue_.emplace();
    to_queue_->Set(&arrivals(), gpr_inf_past(GPR_CLOCK_MONOTONIC), caught_up_.tag());
  });
}

void DownloadCall::OnCaughtUp(bool) {
  if (caught_up_status_.ok())
    Begin(look_());
  else
    End(caught_up_status_);
}

void DownloadCall::Begin(absl::StatusOr<AdmittedDownload> admitted) {
  if (!admitted.ok()) return End(admitted.status());
  const auto download = std::make_shared<Download>(admitted->transfers, std::move(admitted->spec),
                                                   static_cast<DownloadReceiver&>(*this));
  bool is_gone;
  {
    MutexLock lock(mu_);
    download_ = download;
    is_gone = is_gone_;
  }
  download->Begin();
  if (is_gone) download->Fail(absl::CancelledError("the client is gone"));
  admitted->lasting->OnRevokedDo([download](const absl::Status& why) { download->Fail(why); });
}

void DownloadCall::OnGone(bool cancelled) {
  if (!cancelled) return;
  std::shared_ptr<Download> download;
  {
    MutexLock lock(mu_);
    is_gone_ = true;
    download = download_;
  }
  if (download != nullptr) download->Fail(absl::CancelledError("the client is gone"));
}

}  // namespace

void AcceptDownload(const DownloadMethod& method, CallQueues& queues) {
  (new DownloadCall(method, queues))->Accept();
}

}  // namespace finetune
