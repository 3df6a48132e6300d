#include "server/jobs/tracking/credits_reader.h"

#include <utility>

namespace finetune {
namespace {

// For one read with all its tries.
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
  // Until it is answered.
  next_ = absl::InfiniteFuture();
  segmind_.GetCredits({now + kPatience},
                      [this, worker = worker_](const absl::StatusOr<int64_t>& told) {
                        worker->Post([this, status = told.status()] { OnAnswer(status); });
                      });
}

// What could not be read is no more urgent than what could.
void CreditsReader::OnAnswer(const absl::Status& status) {
  if (stopped_) return;
  next_ = clock_.Now() + interval_;
  if (status.ok()) on_told_();
}

}  // namespace finetune
