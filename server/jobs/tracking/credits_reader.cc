#include "server/jobs/tracking/credits_reader.h"

#include <utility>

namespace finetune {
namespace {

// How long a read may take, with all its tries.
constexpr absl::Duration kPatience = absl::Minutes(1);

}  // namespace

CreditsReader::CreditsReader(SegmindClient& segmind, Clock& clock, absl::Duration interval,
                             std::shared_ptr<Worker> worker, std::function<void()> on_told)
    : segmind_(segmind),
      clock_(clock),
      interval_(interval),
      worker_(std::move(worker)),
      on_told_(std::move(on_told)) {}

void CreditsReader::Begin(absl::Time now) {
  if (begun_ || interval_ <= absl::ZeroDuration()) return;
  begun_ = true;
  next_ = now;
}

void CreditsReader::Start(absl::Time now) {
  if (stopped_ || now < next_) return;
  // No other read is due until this one is answered.
  next_ = absl::InfiniteFuture();
  segmind_.GetCredits({now + kPatience},
                      [this, worker = worker_](const absl::StatusOr<int64_t>& told) {
                        worker->Post([this, status = told.status()] { OnAnswer(status); });
                      });
}

// A read that failed is not repeated sooner than another.
void CreditsReader::OnAnswer(const absl::Status& status) {
  if (stopped_) return;
  next_ = clock_.Now() + interval_;
  if (status.ok()) on_told_();
}

}  // namespace finetune
