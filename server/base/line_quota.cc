#include "server/base/line_quota.h"

#include <utility>

namespace finetune {

std::optional<int64_t> LineQuota::Take(std::string_view kind, absl::Time now) {
  MutexLock lock(mu_);
  Lines& lines = lines_[std::string(kind)];
  if (now >= lines.begin + absl::Seconds(1)) {
    lines.begin = now;
    lines.count = 0;
  }
  if (++lines.count > kMost) {
    ++lines.left_out;
    return std::nullopt;
  }
  return std::exchange(lines.left_out, 0);
}

}  // namespace finetune
