#include "server/segmind/upstream_health.h"

namespace finetune {
namespace {

// A kind of call that is not made again says nothing after that long.
constexpr absl::Duration kFailureCounts = absl::Minutes(10);

}  // namespace

void UpstreamHealth::Note(UpstreamCall call, Answer answer, absl::Time now) {
  Latest& latest = latest_[static_cast<size_t>(call)];
  const bool was_good = latest.known && latest.answer == Answer::kGood;
  // Every key may list. When that ends, what went well before was with the key as it was.
  if (call == UpstreamCall::kList && answer == Answer::kKeyRefused && was_good) {
    for (Latest& other : latest_)
      if (other.answer == Answer::kGood) other.known = false;
  }
  latest = {.known = true, .answer = answer, .time = now};
}

pb::GatewayStatus::UpstreamState UpstreamHealth::state(absl::Time now) const {
  bool good = false, refused = false, failed = false;
  for (const Latest& latest : latest_) {
    if (!latest.known) continue;
    if (latest.answer == Answer::kGood) {
      good = true;
    } else if (latest.answer == Answer::kKeyRefused) {
      refused = true;
    } else if (now - latest.time <= kFailureCounts) {
      failed = true;
    }
  }
  if (refused && !good) return pb::GatewayStatus::CREDENTIAL_REJECTED;
  if (refused || failed) return pb::GatewayStatus::DEGRADED;
  return retired_ ? pb::GatewayStatus::RETIRED : pb::GatewayStatus::HEALTHY;
}

}  // namespace finetune
