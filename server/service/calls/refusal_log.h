#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "server/base/clock.h"
#include "server/base/error.h"
#include "server/base/mutex.h"

namespace finetune {

// Keeps a caller that is refused thousands of times a second from filling the log: calls that are
// refused because too much is asked at once get a line each only while there are few of them. The
// rest are counted by one audit line a second for each caller and reason. Thread-safe; the clock
// outlives it.
class RefusalLog {
 public:
  // Of one caller and reason, in a second.
  static constexpr int64_t kLinesEach = 10;
  static constexpr absl::Duration kPeriod = absl::Seconds(1);

  // Writes the line that counts; from any thread.
  using WriteCount =
      std::function<void(pb::ErrorReason::Reason reason, const std::string& caller, int64_t calls)>;

  RefusalLog(Clock& clock, WriteCount write_count)
      : clock_(clock), write_count_(std::move(write_count)) {}
  // Writes what was counted.
  ~RefusalLog();

  // Whether this refusal is to have a line of its own; if not, it is counted here.
  bool HasOwnLine(pb::ErrorReason::Reason reason, const std::string& caller)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Refusals {
    pb::ErrorReason::Reason reason;
    std::string caller;
    int64_t count = 0;  // In this period, those with lines of their own included.
  };

  // Callers beyond these have a line for each refusal: they are no flood.
  static constexpr size_t kMost = 1'000;

  void BeginPeriod() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EndPeriod() ABSL_LOCKS_EXCLUDED(mu_);
  void WriteCounts() ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  Clock& clock_;
  const WriteCount write_count_;

  Mutex mu_;
  absl::flat_hash_map<std::string, Refusals> refusals_ ABSL_GUARDED_BY(mu_);
  // Runs while there are any, and until its callback has ended.
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = Clock::kNoTimer;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace finetune
