#include "server/service/transfers/transfer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/service/transfers/transfers.h"

namespace finetune {
namespace {

absl::Status Unavailable(absl::string_view message, absl::Duration retry_after) {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE,
               std::string_view(message.data(), message.size()))
      .RetryAfter(retry_after);
}

// `<Code>…</Code>` of the storages' XML, if it is a word; the rest may hold signatures.
std::string StorageWord(std::string_view body) {
  constexpr std::string_view kOpen = "<Code>", kClose = "</Code>";
  const size_t from = body.find(kOpen);
  if (from == body.npos) return "";
  const size_t to = body.find(kClose, from);
  if (to == body.npos) return "";
  const std::string_view word = body.substr(from + kOpen.size(), to - from - kOpen.size());
  const bool plain = word.size() <= 64 && std::all_of(word.begin(), word.end(), [](char c) {
                       return absl::ascii_isalnum(static_cast<unsigned char>(c));
                     });
  return plain ? std::string(word) : "";
}

}  // namespace

void Transfer::Fail(absl::Status status) {
  const auto self = shared_from_this();
  std::shared_ptr<HttpStream> stream;
  {
    MutexLock lock(mu_);
    if (!end_) end_ = std::move(status);
    Drop();
    stream = std::move(stream_);
  }
  if (stream) stream->Cancel();
  cancellation_->Cancel();
  Turn();
}

absl::Status Transfer::end() const {
  MutexLock lock(mu_);
  return end_.value_or(absl::OkStatus());
}

void Transfer::Turn() {
  const auto self = shared_from_this();
  while (true) {
    Step step;
    std::shared_ptr<HttpStream> stream;
    {
      MutexLock lock(mu_);
      if (turning_ || finished_) return;
      step = Next();
      if (step == Step::kNone) return;
      turning_ = true;
      if (step == Step::kFinish) {
        finished_ = true;
        stream = std::move(stream_);
      }
    }
    if (step == Step::kFinish) transfers_.Leave(self);
    if (stream) stream->Cancel();
    Take(step);
    MutexLock lock(mu_);
    turning_ = false;
  }
}

void Transfer::ResumeStream() {
  std::shared_ptr<HttpStream> stream;
  {
    MutexLock lock(mu_);
    if (!paused_ || !stream_) return;
    paused_ = false;
    stream = stream_;
  }
  stream->Resume();
}

void Transfer::StartStream(StreamRequest request) {
  {
    MutexLock lock(mu_);
    if (end_) return;
    paused_ = false;
  }
  request.trace = trace_;
  auto stream = transfers_.streamer().Start(std::move(request), shared_from_this());
  bool ended;
  {
    MutexLock lock(mu_);
    ended = end_.has_value();
    if (!ended) stream_ = stream;
  }
  if (ended) return stream->Cancel();
  // It may have paused before it was known here.
  stream->Resume();
}

void Transfer::NoteProgress() { last_progress_ = transfers_.clock().Now(); }

void Transfer::Watch() {
  {
    MutexLock lock(mu_);
    NoteProgress();
  }
  Check();
}

// Every now and then until it is finished.
void Transfer::Check() {
  const absl::Duration limit = transfers_.idle_timeout();
  absl::Status stalled;
  {
    MutexLock lock(mu_);
    if (finished_) return;
    if (transfers_.clock().Now() - last_progress_ >= limit) {
      if (end_) {
        stuck_ = true;
      } else if (AwaitsClient()) {
        stuck_ = true;
        stalled = absl::DeadlineExceededError(
            absl::StrCat("the client has not moved a byte for ", absl::FormatDuration(limit)));
      } else {
        stalled = Unavailable(absl::StrCat("Segmind's storage has not moved a byte for ",
                                           absl::FormatDuration(limit)),
                              absl::Seconds(1));
      }
    }
  }
  if (!stalled.ok()) Fail(std::move(stalled));
  Turn();
  transfers_.clock().RunAfter(std::max(limit / 4, absl::Milliseconds(10)),
                              [weak = weak_from_this()] {
                                if (auto transfer = weak.lock()) transfer->Check();
                              });
}

absl::Status StorageError(int code, std::string_view body) {
  const std::string word = StorageWord(body);
  // What storage refuses now may do with a fresh URL; what broke in it, sooner.
  Error error(absl::StatusCode::kUnavailable, pb::ErrorReason::UPSTREAM_UNAVAILABLE,
              absl::StrCat("Segmind's storage answered ", code, word.empty() ? "" : " ", word));
  std::move(error)
      .Metadata("http_status", std::to_string(code))
      .RetryAfter(code >= 500 ? absl::Seconds(1) : absl::Seconds(5));
  if (!word.empty()) std::move(error).Metadata("storage_code", word);
  return std::move(error);
}

absl::Status StreamError(const absl::Status& status) {
  const std::string text =
      absl::StrCat("the transfer with Segmind's storage failed: ", status.message());
  switch (status.code()) {
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kInvalidArgument:
      return Error(absl::StatusCode::kInternal, pb::ErrorReason::UPSTREAM_MALFORMED, text);
    case absl::StatusCode::kCancelled:
      return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::SERVER_DRAINING,
                   "this server is going away; use another")
          .RetryAfter(absl::Milliseconds(500));
    case absl::StatusCode::kInternal:
      return status;
    default:
      return Unavailable(text, absl::Seconds(1));
  }
}

}  // namespace finetune
