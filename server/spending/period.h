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

// The zone of that IANA name; nullopt if this machine knows none. Unlike absl::LoadTimeZone, it
// opens no other files and remembers no names that are none, wherever the name comes from.
std::optional<absl::TimeZone> FindZone(const std::string& name);

}  // namespace finetune
