#include "server/service/transfers/transfer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/service/transfers/storage_answer.h"
#include "server/service/transfers/transfers.h"

namespace finetune {
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
  // It may have been paused before the stream was known here.
  stream->Resume();
}

void Transfer::NoteStep() {
  last_progress_ = counted_since_ = transfers_.clock().Now();
  counted_ = 0;
}

void Transfer::NoteBytes(size_t bytes) {
  last_progress_ = transfers_.clock().Now();
  counted_ += bytes;
}

void Transfer::Watch() {
  {
    MutexLock lock(mu_);
    NoteStep();
  }
  Check();
}

absl::Status Transfer::Stalled(absl::Time now) {
  const absl::Duration limit = transfers_.idle_timeout();
  std::string how;
  if (now - last_progress_ >= limit) {
    how = absl::StrCat("has not moved a byte for ", absl::FormatDuration(limit));
  } else if (now - counted_since_ >= limit) {
    const double least = static_cast<double>(transfers_.least_bytes_per_second());
    const double moved =
        static_cast<double>(counted_) / absl::ToDoubleSeconds(now - counted_since_);
    counted_since_ = now;
    counted_ = 0;
    if (moved >= least) return absl::OkStatus();
    how = absl::StrCat("moves less than ", transfers_.least_bytes_per_second(), " bytes a second");
  } else {
    return absl::OkStatus();
  }
  if (AwaitsClient()) {
    stuck_ = true;
    return absl::DeadlineExceededError(absl::StrCat("the client ", how));
  }
  return StorageUnavailable(absl::StrCat("Segmind's storage ", how));
}

// Runs again and again until the transfer is finished.
void Transfer::Check() {
  const absl::Duration limit = transfers_.idle_timeout();
  absl::Status stalled;
  {
    MutexLock lock(mu_);
    if (finished_) return;
    const absl::Time now = transfers_.clock().Now();
    if (end_)
      stuck_ = stuck_ || now - last_progress_ >= limit;
    else
      stalled = Stalled(now);
  }
  if (!stalled.ok()) Fail(std::move(stalled));
  Turn();
  transfers_.clock().RunAfter(std::max(limit / 4, absl::Milliseconds(10)),
                              [weak = weak_from_this()] {
                                if (auto transfer = weak.lock()) transfer->Check();
                              });
}

}  // namespace finetune
