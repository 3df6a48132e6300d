#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "server/base/mutex.h"

namespace finetune {

// How many lines of a kind may be logged, where others can cause as many as they like and each says
// about the same. Thread-safe.
class LineQuota {
 public:
  // Of one kind, in a second.
  static constexpr int64_t kMost = 10;

  // Takes one of `kind`, of which there are few, at steady time `now`: how many were left out since
  // the last one was taken; nullopt if this one is to be left out, too.
  std::optional<int64_t> Take(std::string_view kind, absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Lines {
    absl::Time begin = absl::InfinitePast();  // Of the second.
    int64_t count = 0;                        // In it.
    int64_t left_out = 0;
  };

  Mutex mu_;
  absl::flat_hash_map<std::string, Lines> lines_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
