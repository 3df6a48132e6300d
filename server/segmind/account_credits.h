#pragma once

#include <prometheus/gauge.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/time/time.h"
#include "server/base/metrics.h"
#include "server/base/mutex.h"

namespace finetune {

// What Segmind says that the account has left: the newest answer, until that is too old to mean
// anything. Thread-safe.
class AccountCredits {
 public:
  struct Told {
    int64_t micros = 0;  // Millionths of a credit.
    absl::Time time;     // Steady.
  };

  AccountCredits(absl::Duration good_for, Metrics& metrics);

  // Segmind said so at `time`, in this process or in another.
  void Note(int64_t micros, absl::Time time) ABSL_LOCKS_EXCLUDED(mu_);
  // From the header of an answer. Text that is not an amount is ignored.
  void NoteHeader(std::string_view text, absl::Time time) ABSL_LOCKS_EXCLUDED(mu_);

  // Nullopt while it is unknown.
  std::optional<Told> At(absl::Time now) const ABSL_LOCKS_EXCLUDED(mu_);

  void UpdateMetrics(absl::Time now) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Constant after construction.
  const absl::Duration good_for_;
  prometheus::Gauge& credits_;
  prometheus::Gauge& age_;

  mutable Mutex mu_;
  std::optional<Told> told_ ABSL_GUARDED_BY(mu_);
};

}  // namespace finetune
