#include "server/segmind/upstream_health.h"

namespace finetune {
namespace {

// After this long, a kind of call that is not made again says nothing.
constexpr absl::Duration kFailureCounts = absl::Minutes(10);

}  // namespace

void UpstreamHealth::Note(UpstreamCall call, Answer answer, absl::Time now) {
  Latest& latest = latest_[static_cast<size_t>(call)];
  // Every key may list. When lists begin to be refused, earlier successes were with the key as it
  // was; when they succeed again, so were the earlier refusals.
  const bool turns = call == UpstreamCall::kList && latest.known &&
                     ((latest.answer == Answer::kGood && answer == Answer::kKeyRefused) ||
                      (latest.answer == Answer::kKeyRefused && answer == Answer::kGood));
  if (turns) {
    const Answer before = latest.answer;
    for (Latest& other : latest_)
      if (other.answer == before) other.known = false;
  }
  latest = {.known = true, .answer = answer, .time = now};
}

pb::GatewayStatus::UpstreamState UpstreamHealth::state(absl::Time now) const {
  bool good = false, refused = false, failed = false;
  for (const Latest& latest : latest_) {
    if (!latest.known) continue;
    if (latest.answer == Answer::kGood) {
      good = true;
    } else if (now - latest.time <= kFailureCounts) {
      (latest.answer == Answer::kKeyRefused ? refused : failed) = true;
    }
  }
  if (refused && !good) return pb::GatewayStatus::CREDENTIAL_REJECTED;
  if (refused || failed) return pb::GatewayStatus::DEGRADED;
  return retired_ ? pb::GatewayStatus::RETIRED : pb::GatewayStatus::HEALTHY;
}

}  // namespace finetune
