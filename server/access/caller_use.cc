#include "server/access/caller_use.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

// How many calls may come at the same moment.
double Burst(double rate) { return std::max(1.0, std::floor(rate)); }

}  // namespace

double CallerUse::TokensAt(double rate, absl::Time now) {
  const double burst = Burst(rate);
  if (filled_ == absl::InfinitePast()) return burst;
  const double earned = rate * absl::ToDoubleSeconds(std::max(now - filled_, absl::ZeroDuration()));
  return std::min(burst, tokens_ + earned);
}

absl::Status CallerUse::TakeCall(const Caller& caller, absl::Time now) {
  if (!caller.limits.calls_per_second) return absl::OkStatus();
  const double rate = *caller.limits.calls_per_second;
  double tokens = 0;
  {
    MutexLock lock(mu_);
    tokens = rate > 0 ? TokensAt(rate, now) : 0;
    filled_ = std::max(filled_, now);
    tokens_ = tokens;
    if (tokens >= 1) {
      tokens_ -= 1;
      return absl::OkStatus();
    }
  }
  const absl::Duration wait = rate > 0 ? absl::Seconds((1 - tokens) / rate) : absl::Hours(1);
  return refusal_.Get(
      caller.identity, "calls_per_second", absl::StrCat(rate),
      absl::Ceil(std::clamp(wait, absl::Milliseconds(1), absl::Hours(1)), absl::Milliseconds(1)));
}

int64_t CallerUse::calls_used(double calls_per_second, absl::Time now) {
  MutexLock lock(mu_);
  return static_cast<int64_t>(std::ceil(Burst(calls_per_second) - TokensAt(calls_per_second, now)));
}

}  // namespace finetune
