#include "server/service/transfers/download.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/crc32c.h"
#include "server/base/error.h"
#include "server/service/calls/wire_bytes.h"
#include "server/service/requests/violations.h"
#include "server/service/transfers/storage_answer.h"
#include "server/service/transfers/transfers.h"

namespace finetune {
namespace {

// The source is paused when this many full blocks wait, besides one being sent and one being
// filled. It resumes while there is still something to send.
constexpr size_t kQueue = 3;
constexpr size_t kResumeAt = 1;
constexpr size_t kMaxErrorBody = 4 << 10;
constexpr absl::Duration kUrlTimeout = absl::Seconds(30);

bool IsAnswer(int code) { return code == 200 || code == 206 || code == 416; }

// Whether storage's answer says that the file may not be read without permission.
bool IsLocked(int code) { return code == 401 || code == 403; }

// Whether Segmind has said for good that it cannot sign such a URL. After other errors it still
// may.
bool IsDefinite(const absl::Status& status) {
  switch (ReasonOf(status)) {
    case pb::ErrorReason::UPSTREAM_REJECTED:
    case pb::ErrorReason::UPSTREAM_MALFORMED:
    case pb::ErrorReason::FINE_TUNE_NOT_FOUND:
      return true;
    default:
      return false;
  }
}

}  // namespace

Download::Download(Transfers& transfers, DownloadSpec spec, DownloadReceiver& receiver)
    : Transfer(transfers, spec.trace, spec.sharer),
      receiver_(receiver),
      spec_(std::move(spec)),
      range_{.offset = spec_.offset, .limit = spec_.limit},
      next_offset_(spec_.offset) {}

void Download::Begin() {
  Watch();
  if (absl::Status status = transfers_.Enter(shared_from_this()); !status.ok())
    return Fail(std::move(status));
  FetchBy(spec_.open ? Way::kOpen : Way::kSigned);
}

void Download::FetchBy(Way way) {
  {
    MutexLock lock(mu_);
    way_ = way;
    code_ = 0;
    NoteStep();
  }
  switch (way) {
    case Way::kOpen:
      return Fetch(Secret(spec_.weights_uri));
    case Way::kSigned:
      return AskForSignedUrl();
    case Way::kDetails:
      return AskForDetails();
  }
}

void Download::AskForSignedUrl() {
  auto self = std::static_pointer_cast<Download>(shared_from_this());
  transfers_.segmind().CreateDownloadUrl(
      spec_.weights_uri, {transfers_.clock().Now() + kUrlTimeout, trace_, sharer_, cancellation_},
      [self](absl::StatusOr<Secret> url) {
        if (url.ok()) return self->Fetch(*std::move(url));
        if (!IsDefinite(url.status())) return self->Fail(url.status());
        self->TryNextWay(url.status());
      });
}

void Download::AskForDetails() {
  auto self = std::static_pointer_cast<Download>(shared_from_this());
  transfers_.segmind().GetDetails(
      spec_.upstream_id, {transfers_.clock().Now() + kUrlTimeout, trace_, sharer_, cancellation_},
      [self](absl::StatusOr<DetailsAnswer> details) {
        if (details.ok() && details->job.signed_weights_url)
          return self->Fetch(*std::move(details->job.signed_weights_url));
        absl::Status refusal;
        {
          MutexLock lock(self->mu_);
          refusal = self->refusal_;
        }
        self->Fail(std::move(refusal));
      });
}

void Download::TryNextWay(absl::Status refusal) {
  bool details;
  {
    MutexLock lock(mu_);
    details = way_ == Way::kSigned;
    refusal_ = refusal;
  }
  if (!details) return FetchBy(Way::kSigned);
  if (spec_.upstream_id.empty()) return Fail(std::move(refusal));
  FetchBy(Way::kDetails);
}

void Download::Fetch(Secret url) {
  StreamRequest request{.url = std::move(url), .follow_redirects = true};
  request.headers.emplace_back("Accept-Encoding", "identity");
  if (const std::string header = range_.header(); !header.empty())
    request.headers.emplace_back("Range", header);
  StartStream(std::move(request));
}

void Download::OnHead(const HttpResponse& head) {
  error_body_.clear();
  start_.clear();
  absl::StatusOr<WeightsAnswer> answer = absl::UnknownError("of no use");
  if (IsAnswer(head.code)) answer = ReadWeightsAnswer(range_, spec_.generation, head);
  if (answer.ok()) {
    telling_ = answer->telling;
    to_skip_ = answer->skip;
    to_come_ = answer->wanted;
    with_digest_ = !spec_.skip_sha256 && range_.offset == 0 && answer->wanted == answer->total;
    sha256_ = Sha256();
  }
  MutexLock lock(mu_);
  NoteStep();
  code_ = head.code;
  answer_ = std::move(answer);
}

bool Download::OnData(std::string_view bytes) {
  bool wanted;
  {
    MutexLock lock(mu_);
    if (end_ || source_end_) return true;
    wanted = answer_.ok();
    if (wanted && queue_.size() >= kQueue) {
      paused_ = true;
      return false;
    }
    NoteBytes(bytes.size());
  }
  if (!wanted) {
    error_body_.append(bytes.substr(0, kMaxErrorBody - error_body_.size()));
    return true;
  }
  if (telling_ == 0) return Pass(bytes), true;
  const std::string_view told = bytes.substr(0, static_cast<size_t>(telling_));
  start_.append(told);
  telling_ -= static_cast<int64_t>(told.size());
  if (telling_ > 0) return true;
  int64_t total;
  {
    MutexLock lock(mu_);
    total = answer_->total;
  }
  if (absl::Status status = CheckWeightsStart(start_, total); !status.ok())
    return Fail(std::move(status)), true;
  Pass(std::exchange(start_, {}));
  Pass(bytes.substr(told.size()));
  return true;
}

void Download::Pass(std::string_view bytes) {
  const size_t skipped = std::min<size_t>(bytes.size(), static_cast<size_t>(to_skip_));
  to_skip_ -= static_cast<int64_t>(skipped);
  bytes = bytes.substr(skipped);
  bytes = bytes.substr(0, static_cast<size_t>(to_come_));
  if (bytes.empty()) return;
  to_come_ -= static_cast<int64_t>(bytes.size());
  // Not under the lock: it is the longest part, and the call's thread serves other calls.
  if (with_digest_) sha256_.Update(bytes);
  std::string digest = with_digest_ && to_come_ == 0 ? sha256_.Finish() : std::string();
  {
    MutexLock lock(mu_);
    if (end_) return;
    Gather(bytes);
    dry_ = false;
    if (to_come_ == 0) {
      digest_ = std::move(digest);
      source_end_ = absl::OkStatus();
    }
    if (queue_.empty() && !source_end_) return;
  }
  Turn();
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

// What the end of storage's stream means for the caller.
absl::Status Download::EndOf(const absl::Status& status) const {
  if (code_ != 0 && !IsAnswer(code_)) {
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
  std::optional<absl::Status> refusal;
  bool useless;
  bool given_up;
  {
    MutexLock lock(mu_);
    // Storage refused, or did not answer before the caller gave up: the URL may be the reason.
    useless = way_ == Way::kSigned && (code_ == 0 || (code_ >= 400 && code_ != 416));
    given_up = end_ || source_end_;
    if (!given_up) {
      absl::Status end = EndOf(status);
      // The weights were thought to be open and are not (any more), or a signed URL did not help.
      if (way_ != Way::kDetails && IsLocked(code_))
        refusal = std::move(end);
      else
        source_end_ = std::move(end);
    }
  }
  // The next caller then gets a fresh URL.
  if (useless) transfers_.segmind().ForgetDownloadUrl(spec_.weights_uri);
  if (given_up) return;
  if (refusal) return TryNextWay(*std::move(refusal));
  Turn();
}

Download::Step Download::Next() {
  if (writing_) {
    if (!stuck_ || aborted_) return Step::kNone;
    // The client does not read, and a status cannot overtake what it has not read.
    aborted_ = true;
    return Step::kAbort;
  }
  if (end_) return Step::kFinish;
  if (queue_.empty() && filling_ && (dry_ || source_end_)) queue_.push_back(std::move(filling_));
  const bool first = messages_ == 0;
  // The first message tells the size, even of a part without bytes.
  if (!queue_.empty() || (first && answer_.ok() && source_end_ && source_end_->ok())) {
    TakeNext();
    return Step::kWrite;
  }
  if (!source_end_) return Step::kNone;
  end_ = source_end_;
  return Step::kFinish;
}

void Download::TakeNext() {
  using Response = pb::DownloadWeightsResponse;
  if (!queue_.empty()) {
    piece_.block = std::move(queue_.front());
    queue_.pop_front();
  }
  std::string& head = piece_.head;
  if (next_offset_ != 0)
    AppendVarintField(head, Response::kOffsetFieldNumber, static_cast<uint64_t>(next_offset_));
  if (messages_ == 0) {
    AppendVarintField(head, Response::kTotalSizeBytesFieldNumber,
                      static_cast<uint64_t>(answer_->total));
    AppendBytesField(head, Response::kGenerationFieldNumber, answer_->generation);
  }
  const bool last = source_end_ && queue_.empty() && !filling_;
  if (last && !digest_.empty()) AppendBytesField(head, Response::kSha256FieldNumber, digest_);
  writing_ = true;
  writing_bytes_ = piece_.block ? piece_.block->size() : 0;
  next_offset_ += static_cast<int64_t>(writing_bytes_);
  ++messages_;
}

grpc::ByteBuffer Download::MakeMessage() {
  using Response = pb::DownloadWeightsResponse;
  std::string head = std::exchange(piece_.head, {});
  std::unique_ptr<Block> block = std::move(piece_.block);
  const std::string_view bytes =
      block ? std::string_view(block->data(), block->size()) : std::string_view();
  AppendFixed32Field(head, Response::kCrc32CFieldNumber, Crc32c(bytes));
  AppendLengthPrefix(head, Response::kChunkFieldNumber, bytes.size());
  transfers_.CountDownloaded(static_cast<int64_t>(bytes.size()));
  const grpc::Slice slices[] = {grpc::Slice(head),
                                block ? transfers_.blocks().Lend(std::move(block)) : grpc::Slice()};
  return grpc::ByteBuffer(slices, 2);
}

void Download::Take(Step step) {
  if (step == Step::kAbort) return receiver_.Abort();
  if (step == Step::kFinish) return receiver_.End(end());
  receiver_.Write(MakeMessage());
  bool room;
  {
    MutexLock lock(mu_);
    room = queue_.size() <= kResumeAt;
  }
  if (room) ResumeStream();
}

void Download::OnWritten(bool ok) {
  {
    MutexLock lock(mu_);
    writing_ = false;
    if (ok) NoteBytes(writing_bytes_);
  }
  if (!ok) return Fail(absl::CancelledError("the client is gone"));
  Turn();
}

double Download::messages() const {
  MutexLock lock(mu_);
  return static_cast<double>(messages_);
}

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
                      .upstream_id = job.upstream_id(),
                      .open = job.base_model() == "FAST_FLUX",
                      .offset = request.read_offset(),
                      .limit = request.read_limit(),
                      .generation = request.generation(),
                      .skip_sha256 = request.skip_sha256()};
}

}  // namespace finetune
