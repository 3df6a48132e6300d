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

// Keeps whoever is refused thousands of times a second from filling the log, and so from driving
// the lines of others out of it: refused calls get a line each only while there are few of them.
// The rest are counted by one audit line a second for each reason and caller or, where nobody knows
// whose calls these are, machine. Thread-safe; the clock outlives it.
class RefusalLog {
 public:
  // Who was refused, and why.
  struct Refused {
    pb::ErrorReason::Reason reason = pb::ErrorReason::REASON_UNSPECIFIED;
    std::string caller;   // Empty if nobody knows.
    std::string machine;  // Empty if the caller is known.

    auto operator<=>(const Refused&) const = default;
    template <typename H>
    friend H AbslHashValue(H h, const Refused& one) {
      return H::combine(std::move(h), static_cast<int>(one.reason), one.caller, one.machine);
    }
  };

  // Of those who are equal, in a second.
  static constexpr int64_t kLinesEach = 10;
  static constexpr absl::Duration kPeriod = absl::Seconds(1);

  // Writes the line that counts; from any thread.
  using WriteCount = std::function<void(const Refused& refused, int64_t calls)>;

  RefusalLog(Clock& clock, WriteCount write_count)
      : clock_(clock), write_count_(std::move(write_count)) {}
  // Writes what was counted.
  ~RefusalLog();

  // Whether this refusal is to have a line of its own; if not, it is counted here.
  bool HasOwnLine(const Refused& refused) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Callers beyond these have a line for each refusal: they are no flood.
  static constexpr size_t kMost = 1'000;

  void BeginPeriod() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EndPeriod() ABSL_LOCKS_EXCLUDED(mu_);
  void WriteCounts() ABSL_LOCKS_EXCLUDED(mu_);

  // Constant after construction.
  Clock& clock_;
  const WriteCount write_count_;

  Mutex mu_;
  // How many in this period, those with lines of their own included.
  absl::flat_hash_map<Refused, int64_t> refusals_ ABSL_GUARDED_BY(mu_);
  // Runs while there are any, and until its callback has ended.
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = Clock::kNoTimer;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace finetune
