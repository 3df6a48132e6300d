#include "server/segmind/retry_time.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "server/json/time_text.h"

namespace finetune {
namespace {

constexpr absl::Duration kBelieved = absl::Hours(24);
constexpr absl::Duration kInsteadOfMore = absl::Hours(1);
// Anything older means the same.
constexpr absl::Duration kOldest = absl::Hours(24 * 365);
// A greater number of seconds is a point in time.
constexpr double kFirstPoint = 1e9;

std::optional<absl::Duration> DelayIn(std::string_view header, absl::Time now) {
  double seconds = 0;
  if (absl::SimpleAtod(absl::string_view(header.data(), header.size()), &seconds) &&
      seconds < kFirstPoint) {
    if (!std::isfinite(seconds)) return std::nullopt;
    return absl::Seconds(seconds);
  }
  const std::optional<absl::Time> time = TimeOfText(header);
  if (!time) return std::nullopt;
  return *time - now;
}

}  // namespace

std::optional<absl::Time> DateOf(const HttpResponse& response) {
  return TimeOfText(response.Header("date"));
}

absl::Duration AgeOf(const HttpResponse& response) {
  const std::string_view header = response.Header("age");
  double seconds = 0;
  const bool said = absl::SimpleAtod(absl::string_view(header.data(), header.size()), &seconds);
  if (!said || !(seconds > 0)) return absl::ZeroDuration();
  return std::min(absl::Seconds(seconds), kOldest);
}

std::optional<absl::Duration> RetryDelayIn(const HttpResponse& response, absl::Time now) {
  const absl::Time date = DateOf(response).value_or(now);
  std::optional<absl::Duration> longest;
  for (std::string_view name : {"retry-after", "x-rate-limit-reset-at-utc"}) {
    std::optional<absl::Duration> delay = DelayIn(response.Header(name), date);
    if (!delay || *delay <= absl::ZeroDuration()) continue;
    if (*delay > kBelieved) delay = kInsteadOfMore;
    longest = std::max(longest.value_or(*delay), *delay);
  }
  return longest;
}

}  // namespace finetune
