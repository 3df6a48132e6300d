#include "server/service/transfers/upload.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/service/requests/field_rules.h"
#include "server/service/requests/violations.h"
#include "server/service/transfers/storage_answer.h"
#include "server/service/transfers/transfers.h"
#include "server/service/transfers/upload_part.h"

namespace finetune {
namespace {

// The most that one PUT to S3 may hold. For Segmind's own limit there is only a warning.
constexpr int64_t kMaxSize = int64_t{5} << 30;
// While more than this waits, the client is not read. One more message, of at most 4 MiB, may come
// on top.
constexpr size_t kMostWaiting = size_t{1} << 20;
// This much of what was sent is kept, so that it can be sent again to another URL.
constexpr int64_t kReplay = int64_t{1} << 20;
constexpr size_t kMaxAnswer = 4 << 10;
constexpr absl::Duration kSigningTimeout = absl::Seconds(30);

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

}  // namespace

void Upload::Pieces::Add(grpc::Slice piece) {
  if (piece.size() == 0) return;
  waiting_ += piece.size();
  pieces_.push_back(std::move(piece));
}

size_t Upload::Pieces::Copy(char* to, size_t room) {
  size_t copied = 0;
  while (copied < room && next_ < pieces_.size()) {
    const grpc::Slice& piece = pieces_[next_];
    const size_t take = std::min(room - copied, piece.size() - next_sent_);
    std::memcpy(to + copied, piece.begin() + next_sent_, take);
    copied += take;
    next_sent_ += take;
    if (next_sent_ < piece.size()) break;
    ++next_;
    next_sent_ = 0;
  }
  waiting_ -= copied;
  sent_ += static_cast<int64_t>(copied);
  complete_ = complete_ && sent_ <= kReplay;
  while (!complete_ && next_ > 0) {
    pieces_.pop_front();
    --next_;
  }
  return copied;
}

bool Upload::Pieces::Rewind() {
  if (!complete_) return false;
  next_ = next_sent_ = 0;
  waiting_ += static_cast<size_t>(sent_);
  sent_ = 0;
  return true;
}

void Upload::Pieces::Clear() {
  pieces_.clear();
  next_ = next_sent_ = waiting_ = 0;
  complete_ = false;
}

void Upload::Begin() {
  Watch();
  Turn();
}

Upload::Step Upload::Next() {
  if (end_) return Step::kFinish;
  if (reading_ || half_closed_ || pieces_.waiting() >= kMostWaiting) return Step::kNone;
  reading_ = true;
  return Step::kRead;
}

void Upload::Take(Step step) {
  if (step == Step::kRead) return receiver_.Read();
  if (step == Step::kFinish) receiver_.End(end());
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
  GoOn(message.Length());
}

void Upload::GoOn(size_t bytes) {
  {
    MutexLock lock(mu_);
    reading_ = false;
    NoteBytes(bytes);
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
  AskForUrl();
  return absl::OkStatus();
}

void Upload::AskForUrl() {
  auto self = std::static_pointer_cast<Upload>(shared_from_this());
  transfers_.segmind().CreateUploadUrl(
      spec_->file_name(), spec_->public_read(),
      {transfers_.clock().Now() + kSigningTimeout, trace_, sharer_, cancellation_},
      [self](absl::StatusOr<UploadUrlAnswer> made) { self->OnUrl(std::move(made)); });
}

void Upload::OnUrl(absl::StatusOr<UploadUrlAnswer> made) {
  if (!made.ok()) return Fail(made.status());
  StreamRequest request{.method = "PUT", .url = std::move(made->presigned_url)};
  request.headers = {{"Content-Type", "application/zip"}};
  if (spec_->public_read()) request.headers.emplace_back("x-amz-acl", "public-read");
  {
    MutexLock lock(mu_);
    dataset_.set_data_source_uri(made->s3_url);
    request.body_size = size_;
    NoteStep();
  }
  // If storage refuses before the body is sent, the client need not send it again.
  request.ask_first = request.body_size > kReplay;
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
  if (received_ >= 4 && !inspector_->MayBeZip())
    return InvalidField("chunk", "the file is no zip: it does not begin as one");
  MutexLock lock(mu_);
  if (end_) return absl::OkStatus();
  for (grpc::Slice& piece : pieces) pieces_.Add(std::move(piece));
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
  if (!findings.unusable.empty()) return InvalidField("chunk", findings.unusable);
  MutexLock lock(mu_);
  dataset_.set_size_bytes(received_);
  dataset_.set_sha256(std::move(digest));
  dataset_.set_image_count(findings.image_count);
  for (const std::string& warning : findings.warnings) dataset_.add_warnings(warning);
  reading_ = false;
  half_closed_ = true;
  verified_ = true;
  NoteStep();
  return absl::OkStatus();
}

size_t Upload::OnSend(char* to, size_t room) {
  size_t copied = 0;
  {
    MutexLock lock(mu_);
    // With the last byte the dataset is complete, so it waits until everything is known to be
    // right.
    const int64_t may_go = (verified_ ? size_ : size_ - 1) - pieces_.sent();
    copied = pieces_.Copy(to, std::min(room, static_cast<size_t>(std::max<int64_t>(may_go, 0))));
    if (copied == 0)
      paused_ = true;
    else
      NoteBytes(copied);
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
  NoteStep();
}

bool Upload::OnData(std::string_view bytes) {
  MutexLock lock(mu_);
  error_body_.append(bytes.substr(0, kMaxAnswer - error_body_.size()));
  return true;
}

bool Upload::BeginsAnew() {
  if (began_anew_ || !MayNeedAnotherUrl(code_, error_body_) || !pieces_.Rewind()) return false;
  began_anew_ = true;
  code_ = 0;
  error_body_.clear();
  return true;
}

absl::Status Upload::EndOf(const absl::Status& status) const {
  // A connection whose answer came before all bytes were taken often ends with a reset.
  if (code_ >= 300) return UploadError(code_, error_body_, size_);
  if (!status.ok()) return StreamError(status);
  if (verified_ && pieces_.sent() == size_) return absl::OkStatus();
  return Error(absl::StatusCode::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED,
               "Segmind's storage said yes before it had all of the dataset");
}

void Upload::OnEnd(absl::Status status) {
  bool anew;
  {
    MutexLock lock(mu_);
    if (end_) return;
    anew = BeginsAnew();
    if (!anew) {
      end_ = EndOf(status);
      Drop();
    }
  }
  if (anew) return AskForUrl();
  Turn();
}

}  // namespace finetune
