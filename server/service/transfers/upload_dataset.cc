#include "server/service/transfers/upload_dataset.h"

#include <grpcpp/alarm.h>

#include <memory>
#include <utility>

#include "server/service/calls/grpc_status.h"
#include "server/service/calls/message_bytes.h"
#include "server/service/calls/queued_call.h"
#include "server/service/transfers/upload.h"

namespace finetune {
namespace {

// The gRPC side of an upload: passes events on and does what the Upload says.
class UploadCall final : public QueuedCall, private UploadReceiver {
 public:
  UploadCall(const UploadMethod& method, CallQueues& queues)
      : QueuedCall(queues), method_(method) {}

  void Accept() { Ask(context_); }

  // UploadReceiver.
  void Read() override { reader_.Read(&message_, read_.Begin()); }
  void End(const absl::Status& status) override {
    status_ = status;
    if (!status.ok()) return reader_.FinishWithError(ToGrpcStatus(status), finished_.tag());
    reader_.Finish(WriteMessage(upload_->dataset()), grpc::Status::OK, finished_.tag());
  }

 private:
  // QueuedCall.
  void Request(void* tag) override { method_.ask(context_, reader_, arrivals(), tag); }
  void OnArrived() override;
  void OnGone(bool cancelled) override {
    if (cancelled && upload_ != nullptr) upload_->Fail(absl::CancelledError("the client is gone"));
  }

  void OnRead(bool ok) {
    if (ok) {
      ++received_;
      lasting_->CountUploaded(message_.Length());
      return upload_->OnMessage(message_);
    }
    // This was the last message, or the client is gone; gRPC reports that at the same time, in
    // either order.
    settle_.Set(&arrivals(), gpr_inf_past(GPR_CLOCK_MONOTONIC), settled_.Begin());
  }
  void OnSettled(bool) {
    if (!context_.IsCancelled()) upload_->OnHalfClose();
  }
  void OnFinished(bool) { std::move(done_)(status_, received_); }

  const UploadMethod& method_;
  grpc::ServerContext context_;
  UploadMethod::Reader reader_{&context_};
  grpc::ByteBuffer message_;
  grpc::Alarm settle_;
  UploadDone done_;
  std::shared_ptr<Upload> upload_;  // Null if it was refused.
  std::shared_ptr<LastingCall> lasting_;
  absl::Status status_;  // Set by End.
  double received_ = 0;  // Messages.
  Operation<UploadCall> read_{*this, &UploadCall::OnRead};
  Operation<UploadCall> settled_{*this, &UploadCall::OnSettled};
  Operation<UploadCall> finished_{*this, &UploadCall::OnFinished};
};

void UploadCall::OnArrived() {
  AcceptUpload(method_, queues());
  finished_.Expect();  // It is answered, whatever happens.
  const auto admitted = method_.admit(context_, done_);
  if (!admitted.ok()) return End(admitted.status());
  lasting_ = admitted->lasting;
  upload_ = std::make_shared<Upload>(admitted->transfers, admitted->trace, admitted->sharer,
                                     static_cast<UploadReceiver&>(*this));
  upload_->Begin();
  admitted->lasting->OnRevokedDo(
      [upload = upload_](const absl::Status& why) { upload->Fail(why); });
}

}  // namespace

void AcceptUpload(const UploadMethod& method, CallQueues& queues) {
  (new UploadCall(method, queues))->Accept();
}

}  // namespace finetune
