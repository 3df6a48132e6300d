#include "server/service/transfers/download_weights.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/service/calls/grpc_status.h"
#include "server/service/calls/queued_call.h"
#include "server/service/calls/wire_bytes.h"
#include "server/service/requests/violations.h"
#include "server/service/transfers/weights_answer.h"

namespace finetune {
namespace {

// So many full blocks wait at most, while one is sent and one is filled; then the source is paused.
// It goes on while there is still something to send.
constexpr size_t kQueue = 3;
constexpr size_t kResumeAt = 1;
constexpr size_t kMaxErrorBody = 4 << 10;
constexpr absl::Duration kUrlTimeout = absl::Seconds(30);

class DownloadCall;

class Download final : public Transfer {
 public:
  Download(Transfers& transfers, DownloadSpec spec, DownloadCall& call)
      : Transfer(transfers, spec.trace, spec.sharer),
        call_(call),
        spec_(std::move(spec)),
        range_{.offset = spec_.offset, .limit = spec_.limit},
        next_offset_(spec_.offset) {}

  void Begin();
  void OnWritten(bool ok) ABSL_LOCKS_EXCLUDED(mu_);

  bool resumable() const override { return true; }
  double messages() const ABSL_LOCKS_EXCLUDED(mu_);

  // HttpStreamListener.
  void OnHead(const HttpResponse& head) override;
  bool OnData(std::string_view bytes) override;
  void OnDry() override;
  size_t OnSend(char*, size_t) override { return 0; }
  void OnEnd(absl::Status status) override;

 private:
  Step Next() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Take(Step step) override;
  void Drop() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { queue_.clear(), filling_.reset(); }
  bool AwaitsClient() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return writing_; }

  void Fetch(Secret url);
  void FetchSigned();
  void Gather(std::string_view bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  grpc::ByteBuffer TakeMessage() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status EndOf(const absl::Status& status) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Constant after construction.
  DownloadCall& call_;  // Only in Take.
  const DownloadSpec spec_;
  const WeightsRange range_;

  // Guarded by mu_.
  bool asked_signed_ ABSL_GUARDED_BY(mu_) = false;
  int code_ ABSL_GUARDED_BY(mu_) = 0;
  std::string error_body_ ABSL_GUARDED_BY(mu_);
  absl::StatusOr<WeightsAnswer> answer_ ABSL_GUARDED_BY(mu_) = absl::UnknownError("none yet");
  int64_t to_skip_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t to_come_ ABSL_GUARDED_BY(mu_) = 0;
  // Each makes a message.
  std::deque<std::unique_ptr<Block>> queue_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<Block> filling_ ABSL_GUARDED_BY(mu_);
  // What there is need not wait for its block to be full.
  bool dry_ ABSL_GUARDED_BY(mu_) = false;
  // Set when the source is done: what to end with once the queue is sent.
  std::optional<absl::Status> source_end_ ABSL_GUARDED_BY(mu_);
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool aborted_ ABSL_GUARDED_BY(mu_) = false;
  int64_t next_offset_ ABSL_GUARDED_BY(mu_);
  int64_t messages_ ABSL_GUARDED_BY(mu_) = 0;
  grpc::ByteBuffer message_ ABSL_GUARDED_BY(mu_);
};

// gRPC's side: passes on what happens, and does what it is told.
class DownloadCall final : public QueuedCall {
 public:
  DownloadCall(const DownloadMethod& method, CallQueues& queues)
      : QueuedCall(queues), method_(method) {}

  void Accept() { Ask(context_); }

  // Of Download::Take.
  void Write(const grpc::ByteBuffer& message) { writer_.Write(message, written_.Begin()); }
  void Abort() { context_.TryCancel(); }
  void End(const absl::Status& status) {
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
  download_ = std::make_shared<Download>(admitted->transfers, std::move(admitted->spec), *this);
  download_->Begin();
  admitted->lasting->OnRevokedDo(
      [download = download_](const absl::Status& why) { download->Fail(why); });
}

void Download::Begin() {
  Watch();
  if (absl::Status status = transfers_.Enter(shared_from_this()); !status.ok())
    return Fail(std::move(status));
  if (spec_.open)
    Fetch(Secret(spec_.weights_uri));
  else
    FetchSigned();
}

void Download::Fetch(Secret url) {
  StreamRequest request{.url = std::move(url), .follow_redirects = true};
  if (const std::string header = range_.header(); !header.empty())
    request.headers.emplace_back("Range", header);
  StartStream(std::move(request));
}

void Download::FetchSigned() {
  {
    MutexLock lock(mu_);
    asked_signed_ = true;
    code_ = 0;
    error_body_.clear();
    NoteProgress();
  }
  auto self = std::static_pointer_cast<Download>(shared_from_this());
  transfers_.segmind().CreateDownloadUrl(
      spec_.weights_uri, {transfers_.clock().Now() + kUrlTimeout, trace_, sharer_, cancellation_},
      [self](absl::StatusOr<Secret> url) {
        if (!url.ok()) return self->Fail(url.status());
        self->Fetch(*std::move(url));
      });
}

void Download::OnHead(const HttpResponse& head) {
  MutexLock lock(mu_);
  NoteProgress();
  code_ = head.code;
  if (code_ != 200 && code_ != 206 && code_ != 416) return;
  answer_ = ReadWeightsAnswer(range_, head);
  if (!answer_.ok()) return;
  to_skip_ = answer_->skip;
  to_come_ = answer_->wanted;
}

bool Download::OnData(std::string_view bytes) {
  {
    MutexLock lock(mu_);
    if (end_) return true;
    if (!answer_.ok()) {
      error_body_.append(bytes.substr(0, kMaxErrorBody - error_body_.size()));
      return true;
    }
    if (queue_.size() >= kQueue) {
      paused_ = true;
      return false;
    }
    NoteProgress();
    const size_t skipped = std::min<size_t>(bytes.size(), static_cast<size_t>(to_skip_));
    to_skip_ -= static_cast<int64_t>(skipped);
    bytes = bytes.substr(skipped);
    bytes = bytes.substr(0, static_cast<size_t>(to_come_));
    if (bytes.empty()) return true;
    to_come_ -= static_cast<int64_t>(bytes.size());
    Gather(bytes);
    dry_ = false;
    if (to_come_ == 0) source_end_ = absl::OkStatus();
    if (queue_.empty() && !source_end_) return true;
  }
  Turn();
  return true;
}

void Download::Gather(std::string_view bytes) {
  while (!bytes.empty()) {
    if (!filling_) filling_ = transfers_.blocks().Take();
    bytes.remove_prefix(filling_->Append(bytes));
    if (filling_->full()) queue_.push_back(std::move(filling_));
  }
}

void Download::OnDry() {
  {
    MutexLock lock(mu_);
    dry_ = true;
  }
  Turn();
}

// What the end of the stream means.
absl::Status Download::EndOf(const absl::Status& status) const {
  if (code_ != 0 && code_ != 200 && code_ != 206 && code_ != 416) {
    if (code_ != 404) return StorageError(code_, error_body_);
    return Error(absl::StatusCode::kFailedPrecondition, pb::ErrorReason::WEIGHTS_NOT_READY,
                 "Segmind's storage has no weights of this job");
  }
  if (code_ != 0 && !answer_.ok()) return answer_.status();
  if (!status.ok()) return StreamError(status);
  if (to_come_ > 0)
    return StreamError(absl::DataLossError("the answer is shorter than was asked for"));
  return absl::OkStatus();
}

void Download::OnEnd(absl::Status status) {
  bool again = false;
  bool refused = false;
  {
    MutexLock lock(mu_);
    if (end_ || source_end_) return;
    // The next one who asks gets a fresh URL.
    refused = asked_signed_ && code_ >= 400 && code_ != 416;
    // Weights that were thought to be open, and are not (any more).
    again = !asked_signed_ && (code_ == 401 || code_ == 403);
    if (!again) source_end_ = EndOf(status);
  }
  if (refused) transfers_.segmind().ForgetDownloadUrl(spec_.weights_uri);
  if (again) return FetchSigned();
  Turn();
}

Download::Step Download::Next() {
  if (writing_) {
    if (!stuck_ || aborted_) return Step::kNone;
    // Its status cannot pass what the client does not read.
    aborted_ = true;
    return Step::kAbort;
  }
  if (end_) return Step::kFinish;
  if (queue_.empty() && filling_ && (dry_ || source_end_)) queue_.push_back(std::move(filling_));
  const bool first = messages_ == 0;
  // The first message tells the size, also of a file without bytes.
  if (!queue_.empty() || (first && answer_.ok() && source_end_ && source_end_->ok())) {
    writing_ = true;
    message_ = TakeMessage();
    return Step::kWrite;
  }
  if (!source_end_) return Step::kNone;
  end_ = source_end_;
  return Step::kFinish;
}

grpc::ByteBuffer Download::TakeMessage() {
  std::unique_ptr<Block> block;
  if (!queue_.empty()) {
    block = std::move(queue_.front());
    queue_.pop_front();
  }
  const size_t size = block ? block->size() : 0;
  std::string head;
  if (next_offset_ != 0)
    AppendVarintField(head, pb::DownloadWeightsResponse::kOffsetFieldNumber,
                      static_cast<uint64_t>(next_offset_));
  if (messages_ == 0) {
    AppendVarintField(head, pb::DownloadWeightsResponse::kTotalSizeBytesFieldNumber,
                      static_cast<uint64_t>(answer_->total));
    AppendLengthPrefix(head, pb::DownloadWeightsResponse::kGenerationFieldNumber,
                       answer_->generation.size());
    head += answer_->generation;
  }
  AppendLengthPrefix(head, pb::DownloadWeightsResponse::kChunkFieldNumber, size);
  next_offset_ += static_cast<int64_t>(size);
  ++messages_;
  transfers_.CountDownloaded(static_cast<int64_t>(size));
  const grpc::Slice slices[] = {grpc::Slice(head),
                                block ? transfers_.blocks().Lend(std::move(block)) : grpc::Slice()};
  return grpc::ByteBuffer(slices, 2);
}

void Download::Take(Step step) {
  if (step == Step::kAbort) return call_.Abort();
  if (step == Step::kFinish) return call_.End(end());
  grpc::ByteBuffer message;
  bool room;
  {
    MutexLock lock(mu_);
    message.Swap(&message_);
    room = queue_.size() <= kResumeAt;
  }
  call_.Write(message);
  if (room) ResumeStream();
}

void Download::OnWritten(bool ok) {
  {
    MutexLock lock(mu_);
    writing_ = false;
    if (ok) NoteProgress();
  }
  if (!ok) return Fail(absl::CancelledError("the client is gone"));
  Turn();
}

double Download::messages() const {
  MutexLock lock(mu_);
  return static_cast<double>(messages_);
}

}  // namespace

absl::StatusOr<DownloadSpec> CheckDownload(const pb::DownloadWeightsRequest& request,
                                           const FineTuneVersion& version) {
  Violations violations;
  if (request.read_offset() < 0) violations.Add("read_offset", "must not be negative");
  if (request.read_limit() < 0) violations.Add("read_limit", "must not be negative");
  if (absl::Status status = violations.ToStatus(); !status.ok()) return status;
  pb::FineTune job;
  if (!job.ParseFromArray(version.full.begin(), static_cast<int>(version.full.size())))
    return absl::InternalError("the record of the job cannot be read");
  if (job.weights_uri().empty())
    return Error(absl::StatusCode::kFailedPrecondition, pb::ErrorReason::WEIGHTS_NOT_READY,
                 absl::StrCat("'", request.name(), "' has no weights yet"))
        .Resource("segmind.finetune.v1.FineTune", request.name());
  return DownloadSpec{.weights_uri = job.weights_uri(),
                      .open = job.base_model() == "FAST_FLUX",
                      .offset = request.read_offset(),
                      .limit = request.read_limit()};
}

void AcceptDownload(const DownloadMethod& method, CallQueues& queues) {
  (new DownloadCall(method, queues))->Accept();
}

}  // namespace finetune
