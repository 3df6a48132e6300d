#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"

namespace finetune {

enum class PeriodKind { kDay, kWeek, kMonth };

// From `start` on and before `end`.
struct Period {
  absl::Time start;
  absl::Time end;
};

// The day, week (from Monday on) or calendar month of the zone that holds `time`. Every moment is
// in exactly one, whatever the zone does to its clocks: a day that begins with a midnight that is
// skipped begins where the clocks go on, and one whose midnight comes twice with the first.
Period PeriodAt(PeriodKind kind, const absl::TimeZone& zone, absl::Time time);

// The zone of that IANA name; nullopt if this machine has none. Unlike absl::LoadTimeZone, it opens
// no other files and does not remember bad names, so the name may come from anywhere.
std::optional<absl::TimeZone> FindZone(const std::string& name);

}  // namespace finetune
