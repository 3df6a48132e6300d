#include "server/service/calls/untaken_answers.h"

#include <utility>

namespace finetune {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(30);

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

void UntakenAnswers::Add(Entry& entry, grpc::ServerContextBase& context) {
  const absl::Time until = clock_.Now() + kPatience;
  {
    MutexLock lock(mu_);
    entry.context_ = &context;
    entry.until_ = until;
    entry.before_ = std::exchange(last_, &entry);
    if (entry.before_ != nullptr)
      entry.before_->after_ = &entry;
    else
      first_ = &entry;
    if (timer_ != Clock::kNoTimer || stopping_) return;
    timer_ = clock_.RunAt(until, [this] { CancelOverdue(); });
  }
}

void UntakenAnswers::Remove(Entry& entry) {
  MutexLock lock(mu_);
  if (entry.context_ != nullptr) Unlink(entry);
}

void UntakenAnswers::Unlink(Entry& entry) {
  entry.context_ = nullptr;
  (entry.before_ != nullptr ? entry.before_->after_ : first_) = entry.after_;
  (entry.after_ != nullptr ? entry.after_->before_ : last_) = entry.before_;
  entry.before_ = entry.after_ = nullptr;
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
