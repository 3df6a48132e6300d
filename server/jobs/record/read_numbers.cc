#include "server/jobs/record/read_numbers.h"

#include <algorithm>

#include "server/base/clock.h"

namespace finetune {
namespace {

// An exchange with the server's clock is replaced by a less exact one once it is this old.
constexpr absl::Duration kGrowsOld = absl::Seconds(5);
// Many times what two clocks can drift apart in that time.
constexpr absl::Duration kDrift = absl::Milliseconds(2);

uint64_t NumberOf(absl::Time time) {
  return static_cast<uint64_t>(std::max<int64_t>(0, absl::ToUnixMicros(time)));
}

}  // namespace

uint64_t ReadNumbers::Next() {
  const absl::Time now = SteadyNow();
  MutexLock lock(mu_);
  ++last_;
  if (offset_) last_ = std::max(last_, NumberOf(now + offset_->least));
  return last_;
}

uint64_t ReadNumbers::NotAfterNow() {
  const absl::Time now = SteadyNow();
  MutexLock lock(mu_);
  return offset_ ? NumberOf(now + offset_->least) : ++last_;
}

uint64_t ReadNumbers::NotBeforeNow() {
  const absl::Time now = SteadyNow();
  MutexLock lock(mu_);
  return offset_ ? std::max(last_, NumberOf(now + offset_->most)) : ++last_;
}

void ReadNumbers::Note(uint64_t number) {
  MutexLock lock(mu_);
  last_ = std::max(last_, number);
}

void ReadNumbers::SetClock(const StoreClock& clock) {
  const Offset seen{.least = clock.time - clock.answered - kDrift,
                    .most = clock.time - clock.asked + kDrift,
                    .as_of = clock.answered};
  MutexLock lock(mu_);
  // If the two do not fit, a clock was set, or this is another server.
  const bool fits = offset_ && seen.least <= offset_->most && offset_->least <= seen.most;
  const bool is_better = offset_ && seen.most - seen.least <= offset_->most - offset_->least;
  if (!fits || is_better || seen.as_of > offset_->as_of + kGrowsOld) offset_ = seen;
}

std::optional<absl::Time> ReadNumbers::SharedTime(absl::Time steady) const {
  MutexLock lock(mu_);
  if (!offset_) return std::nullopt;
  return steady + offset_->least + (offset_->most - offset_->least) / 2;
}

}  // namespace finetune
