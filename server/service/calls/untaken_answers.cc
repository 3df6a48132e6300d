#include "server/service/calls/untaken_answers.h"

#include <utility>

namespace finetune {
namespace {

constexpr absl::Duration kTimeToTake = absl::Seconds(30);

}  // namespace

UntakenAnswers::UntakenAnswers(Clock& clock, Metrics& metrics)
    : clock_(clock),
      cancelled_(metrics.Counter("finetune_gateway_untaken_answers_total",
                                 "Calls ended because their client did not read the answer.")) {}

UntakenAnswers::~UntakenAnswers() {
  Clock::TimerId timer;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    timer = timer_;
  }
  clock_.Cancel(timer);
}

void UntakenAnswers::Add(Place& place, grpc::ServerContextBase& context) {
  const absl::Time until = clock_.Now() + kTimeToTake;
  {
    MutexLock lock(mu_);
    place.context_ = &context;
    place.until_ = until;
    place.before_ = std::exchange(last_, &place);
    if (place.before_ != nullptr)
      place.before_->after_ = &place;
    else
      first_ = &place;
    if (timer_ != Clock::kNoTimer || stopping_) return;
    timer_ = clock_.RunAt(until, [this] { CancelOverdue(); });
  }
}

void UntakenAnswers::Remove(Place& place) {
  MutexLock lock(mu_);
  if (place.context_ != nullptr) Unlink(place);
}

void UntakenAnswers::Unlink(Place& place) {
  place.context_ = nullptr;
  (place.before_ != nullptr ? place.before_->after_ : first_) = place.after_;
  (place.after_ != nullptr ? place.after_->before_ : last_) = place.before_;
  place.before_ = place.after_ = nullptr;
}

// The lock keeps the contexts: their calls are not gone before they have left.
void UntakenAnswers::CancelOverdue() {
  const absl::Time now = clock_.Now();
  MutexLock lock(mu_);
  timer_ = Clock::kNoTimer;
  while (first_ != nullptr && first_->until_ <= now) {
    first_->context_->TryCancel();
    cancelled_.Increment();
    Unlink(*first_);
  }
  if (first_ == nullptr || stopping_) return;
  timer_ = clock_.RunAt(first_->until_, [this] { CancelOverdue(); });
}

}  // namespace finetune
