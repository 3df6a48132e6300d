#include "server/service/transfers/upload_dataset.h"

#include <grpcpp/alarm.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/sha256.h"
#include "server/dataset/dataset_inspector.h"
#include "server/service/calls/grpc_status.h"
#include "server/service/calls/message_bytes.h"
#include "server/service/calls/queued_call.h"
#include "server/service/requests/field_rules.h"
#include "server/service/requests/violations.h"
#include "server/service/transfers/upload_part.h"

namespace finetune {
namespace {

// What one PUT to S3 may hold; Segmind's own limit is a warning.
constexpr int64_t kMaxSize = int64_t{5} << 30;
// Beyond it the client is not read. One message more, at most 4 MiB, may be on top of it.
constexpr size_t kQueue = size_t{1} << 20;
constexpr size_t kMaxErrorBody = 4 << 10;
constexpr absl::Duration kUrlTimeout = absl::Seconds(30);

class UploadCall;

absl::Status WrongBytes(const std::string& message) {
  return Error(absl::StatusCode::kDataLoss, pb::ErrorReason::CHECKSUM_MISMATCH, message);
}

absl::Status CheckSpec(const pb::DatasetSpec& spec) {
  Violations violations;
  if (auto wrong = WrongWithFileName(spec.file_name()); !wrong.empty())
    violations.Add("spec.file_name", wrong);
  if (spec.size_bytes() < 1 || spec.size_bytes() > kMaxSize)
    violations.Add("spec.size_bytes", absl::StrCat("must be 1 to ", kMaxSize));
  if (!spec.sha256().empty() && spec.sha256().size() != 32)
    violations.Add("spec.sha256", "must be empty or have 32 bytes");
  return violations.ToStatus();
}

class Upload final : public Transfer {
 public:
  Upload(const AdmittedUpload& admitted, UploadCall& call)
      : Transfer(admitted.transfers, admitted.trace, admitted.sharer), call_(call) {}

  void Begin() {
    Watch();
    Turn();
  }
  // Of the one read under way: nobody else touches what belongs to the reader.
  void OnMessage(const grpc::ByteBuffer& message);
  void OnHalfClose();

  bool resumable() const override { return false; }
  // Once it ended well.
  pb::Dataset dataset() const ABSL_LOCKS_EXCLUDED(mu_);

  // HttpStreamListener.
  void OnHead(const HttpResponse& head) override;
  bool OnData(std::string_view bytes) override;
  size_t OnSend(char* to, size_t room) override;
  void OnEnd(absl::Status status) override;

 private:
  Step Next() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Take(Step step) override;
  void Drop() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { queue_.clear(), queued_ = 0; }
  bool AwaitsClient() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return reading_ && queued_ <= 1;
  }

  absl::Status TakeSpec(const pb::DatasetSpec& spec);
  absl::Status TakeChunk(std::vector<grpc::Slice> pieces) ABSL_LOCKS_EXCLUDED(mu_);
  void GoOn() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Verify() ABSL_LOCKS_EXCLUDED(mu_);
  void OnUrl(absl::StatusOr<UploadUrlAnswer> made) ABSL_LOCKS_EXCLUDED(mu_);

  UploadCall& call_;  // Only in Take.

  // The reader's alone.
  std::optional<pb::DatasetSpec> spec_;
  std::optional<DatasetInspector> inspector_;
  Sha256 sha256_;
  int64_t received_ = 0;

  // Guarded by mu_.
  bool reading_ ABSL_GUARDED_BY(mu_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mu_) = false;
  bool verified_ ABSL_GUARDED_BY(mu_) = false;
  int64_t size_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<grpc::Slice> queue_ ABSL_GUARDED_BY(mu_);
  size_t front_sent_ ABSL_GUARDED_BY(mu_) = 0;  // Of the queue's first.
  size_t queued_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t sent_ ABSL_GUARDED_BY(mu_) = 0;
  int code_ ABSL_GUARDED_BY(mu_) = 0;
  std::string error_body_ ABSL_GUARDED_BY(mu_);
  pb::Dataset dataset_ ABSL_GUARDED_BY(mu_);
};

// gRPC's side: passes on what happens, and does what it is told.
class UploadCall final : public QueuedCall {
 public:
  UploadCall(const UploadMethod& method, CallQueues& queues)
      : QueuedCall(queues), method_(method) {}

  void Accept() { Ask(context_); }

  // Of Upload::Take.
  void Read() { reader_.Read(&message_, read_.Begin()); }
  void End(const absl::Status& status) {
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
    if (ok) return upload_->OnMessage(message_);
    // All there is, or the client is gone: gRPC tells of that at the same time, in either order.
    settle_.Set(&arrivals(), gpr_inf_past(GPR_CLOCK_MONOTONIC), settled_.Begin());
  }
  void OnSettled(bool) {
    if (!context_.IsCancelled()) upload_->OnHalfClose();
  }
  void OnFinished(bool) { std::move(done_)(status_); }

  const UploadMethod& method_;
  grpc::ServerContext context_;
  UploadMethod::Reader reader_{&context_};
  grpc::ByteBuffer message_;
  grpc::Alarm settle_;
  UploadDone done_;
  std::shared_ptr<Upload> upload_;  // Null if it was refused.
  absl::Status status_;             // Set by End.
  Operation<UploadCall> read_{*this, &UploadCall::OnRead};
  Operation<UploadCall> settled_{*this, &UploadCall::OnSettled};
  Operation<UploadCall> finished_{*this, &UploadCall::OnFinished};
};

void UploadCall::OnArrived() {
  AcceptUpload(method_, queues());
  finished_.Expect();  // It is answered, whatever happens.
  const auto admitted = method_.admit(context_, done_);
  if (!admitted.ok()) return End(admitted.status());
  upload_ = std::make_shared<Upload>(*admitted, *this);
  upload_->Begin();
  admitted->lasting->OnRevokedDo(
      [upload = upload_](const absl::Status& why) { upload->Fail(why); });
}

Upload::Step Upload::Next() {
  if (end_) return Step::kFinish;
  if (reading_ || half_closed_ || queued_ >= kQueue) return Step::kNone;
  reading_ = true;
  return Step::kRead;
}

void Upload::Take(Step step) {
  if (step == Step::kRead) return call_.Read();
  if (step == Step::kFinish) call_.End(end());
}

pb::Dataset Upload::dataset() const {
  MutexLock lock(mu_);
  return dataset_;
}

void Upload::OnMessage(const grpc::ByteBuffer& message) {
  absl::Status status;
  auto part = ReadUploadPart(message);
  if (!part.ok())
    status = part.status();
  else if (part->spec)
    status = TakeSpec(*part->spec);
  else if (!spec_)
    status = InvalidField("spec", "must come first");
  else
    status = TakeChunk(std::move(part->chunk));
  if (!status.ok()) return Fail(std::move(status));
  GoOn();
}

void Upload::GoOn() {
  {
    MutexLock lock(mu_);
    reading_ = false;
    NoteProgress();
  }
  ResumeStream();
  Turn();
}

absl::Status Upload::TakeSpec(const pb::DatasetSpec& spec) {
  if (spec_) return InvalidField("spec", "must come only once");
  if (absl::Status status = CheckSpec(spec); !status.ok()) return status;
  if (absl::Status status = transfers_.Enter(shared_from_this()); !status.ok()) return status;
  spec_ = spec;
  inspector_.emplace(spec.size_bytes());
  {
    MutexLock lock(mu_);
    size_ = spec.size_bytes();
  }
  auto self = std::static_pointer_cast<Upload>(shared_from_this());
  transfers_.segmind().CreateUploadUrl(
      spec.file_name(), spec.public_read(),
      {transfers_.clock().Now() + kUrlTimeout, trace_, sharer_, cancellation_},
      [self](absl::StatusOr<UploadUrlAnswer> made) { self->OnUrl(std::move(made)); });
  return absl::OkStatus();
}

void Upload::OnUrl(absl::StatusOr<UploadUrlAnswer> made) {
  if (!made.ok()) return Fail(made.status());
  StreamRequest request{.method = "PUT", .url = std::move(made->presigned_url)};
  request.headers = {{"Content-Type", "application/zip"}};
  {
    MutexLock lock(mu_);
    dataset_.set_data_source_uri(made->s3_url);
    request.body_size = size_;
    NoteProgress();
  }
  // The spec does not change any more; nobody reads another one.
  if (spec_->public_read()) request.headers.emplace_back("x-amz-acl", "public-read");
  StartStream(std::move(request));
}

absl::Status Upload::TakeChunk(std::vector<grpc::Slice> pieces) {
  for (const grpc::Slice& piece : pieces) {
    if (static_cast<int64_t>(piece.size()) > spec_->size_bytes() - received_)
      return WrongBytes(absl::StrCat("more bytes came than the ", spec_->size_bytes(),
                                     " that spec.size_bytes says"));
    const std::string_view bytes(reinterpret_cast<const char*>(piece.begin()), piece.size());
    received_ += static_cast<int64_t>(bytes.size());
    sha256_.Update(bytes);
    inspector_->Write(bytes);
  }
  MutexLock lock(mu_);
  if (end_) return absl::OkStatus();
  for (grpc::Slice& piece : pieces) {
    if (piece.size() == 0) continue;
    queued_ += piece.size();
    queue_.push_back(std::move(piece));
  }
  return absl::OkStatus();
}

void Upload::OnHalfClose() {
  if (absl::Status status = Verify(); !status.ok()) return Fail(std::move(status));
  ResumeStream();
  Turn();
}

absl::Status Upload::Verify() {
  if (!spec_) return InvalidField("spec", "must come first");
  if (received_ != spec_->size_bytes())
    return WrongBytes(absl::StrCat("only ", received_, " of the ", spec_->size_bytes(),
                                   " bytes came that spec.size_bytes says"));
  std::string digest = sha256_.Finish();
  if (!spec_->sha256().empty() && spec_->sha256() != digest)
    return WrongBytes("the bytes that came do not have the SHA-256 of the spec");
  const DatasetFindings findings = inspector_->Finish();
  MutexLock lock(mu_);
  dataset_.set_size_bytes(received_);
  dataset_.set_sha256(std::move(digest));
  dataset_.set_image_count(findings.image_count);
  for (const std::string& warning : findings.warnings) dataset_.add_warnings(warning);
  reading_ = false;
  half_closed_ = true;
  verified_ = true;
  NoteProgress();
  return absl::OkStatus();
}

size_t Upload::OnSend(char* to, size_t room) {
  size_t copied = 0;
  {
    MutexLock lock(mu_);
    // The last byte makes the dataset whole: it waits until all is known to be right.
    const int64_t may_go = (verified_ ? size_ : size_ - 1) - sent_;
    room = std::min(room, static_cast<size_t>(std::max<int64_t>(may_go, 0)));
    while (copied < room && !queue_.empty()) {
      const grpc::Slice& front = queue_.front();
      const size_t take = std::min(room - copied, front.size() - front_sent_);
      std::memcpy(to + copied, front.begin() + front_sent_, take);
      copied += take;
      front_sent_ += take;
      if (front_sent_ == front.size()) {
        queue_.pop_front();
        front_sent_ = 0;
      }
    }
    queued_ -= copied;
    sent_ += static_cast<int64_t>(copied);
    if (copied == 0)
      paused_ = true;
    else
      NoteProgress();
  }
  if (copied > 0) {
    transfers_.CountUploaded(static_cast<int64_t>(copied));
    Turn();
  }
  return copied;
}

void Upload::OnHead(const HttpResponse& head) {
  MutexLock lock(mu_);
  code_ = head.code;
  NoteProgress();
}

bool Upload::OnData(std::string_view bytes) {
  MutexLock lock(mu_);
  error_body_.append(bytes.substr(0, kMaxErrorBody - error_body_.size()));
  return true;
}

void Upload::OnEnd(absl::Status status) {
  {
    MutexLock lock(mu_);
    if (end_) return;
    // An answer that came before the bytes were taken often ends with a reset.
    const bool refused = code_ >= 300;
    if (refused)
      end_ = StorageError(code_, error_body_);
    else if (!status.ok())
      end_ = StreamError(status);
    else if (!verified_ || sent_ != size_)
      end_ = Error(absl::StatusCode::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED,
                   "Segmind's storage said yes before it had all of the dataset");
    else
      end_ = absl::OkStatus();
    Drop();
  }
  Turn();
}

}  // namespace

void AcceptUpload(const UploadMethod& method, CallQueues& queues) {
  (new UploadCall(method, queues))->Accept();
}

}  // namespace finetune
