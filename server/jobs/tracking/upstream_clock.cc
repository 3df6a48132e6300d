#include "server/jobs/tracking/upstream_clock.h"

namespace finetune {
namespace {

// A slower answer says too little about when Segmind read its clock.
constexpr absl::Duration kLongestExchange = absl::Minutes(1);

std::optional<absl::Duration> AheadOf(absl::Time begin, absl::Time end, absl::Time said) {
  const bool usable = said > absl::UnixEpoch() && said < absl::InfiniteFuture();
  if (!usable || end < begin || end - begin > kLongestExchange) return std::nullopt;
  return said - (begin + (end - begin) / 2);
}

}  // namespace

void UpstreamClock::NoteDate(absl::Time begin, absl::Time end, absl::Time date) {
  const auto ahead = AheadOf(begin, end, date);
  MutexLock lock(mu_);
  if (ahead) date_ahead_ = ahead;
}

void UpstreamClock::NoteCreated(absl::Time begin, absl::Time end, absl::Time created) {
  const auto ahead = AheadOf(begin, end, created);
  MutexLock lock(mu_);
  if (ahead) created_ahead_ = ahead;
}

std::optional<absl::Time> UpstreamClock::CreatedAt(absl::Time steady) const {
  MutexLock lock(mu_);
  if (created_ahead_) return steady + *created_ahead_;
  if (date_ahead_) return steady + *date_ahead_;
  return std::nullopt;
}

bool UpstreamClock::wants_created() const {
  MutexLock lock(mu_);
  return !created_ahead_;
}

}  // namespace finetune
