#include "server/store/fleet_dangers.h"

#include <utility>

#include "server/base/log.h"

namespace finetune {
namespace {

// With a larger difference between the clocks, the times that are shown look wrong.
constexpr absl::Duration kMostSkew = absl::Seconds(1);

}  // namespace

void FleetDangers::NoteSkew(absl::Duration ahead, absl::Duration uncertainty) {
  const absl::Duration skew = absl::AbsDuration(ahead);
  if (skew > kMostSkew + uncertainty && !std::exchange(is_skewed_, true)) {
    Log(LogLevel::kWarning, "this machine's clock is not the database's",
        {{"ahead_s", absl::ToDoubleSeconds(ahead)}});
  } else if (skew < kMostSkew && std::exchange(is_skewed_, false)) {
    Log(LogLevel::kInfo, "this machine's clock is the database's again");
  }
}

void FleetDangers::NoteStandbys(bool is_synchronous, int64_t standbys) {
  // A server that never had a standby has never promised more.
  const bool is_expected = standbys > 0 || has_been_synchronous_;
  has_been_synchronous_ = has_been_synchronous_ || is_synchronous;
  if (!is_synchronous && is_expected && !std::exchange(may_lose_, true)) {
    Log(LogLevel::kWarning,
        "commits are acknowledged before a standby has them: a failover loses the latest",
        {{"standbys", standbys}});
  } else if (is_synchronous && std::exchange(may_lose_, false)) {
    Log(LogLevel::kInfo, "commits are acknowledged once a standby has them");
  }
}

}  // namespace finetune
