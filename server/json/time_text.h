#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/time/time.h"

namespace finetune {

// Readings of a point in time, in any of the ways in which services write one. Nullopt for what is
// none of them, or lies outside of the years 1 to 9999. Never the present time for want of a better
// one.

// RFC 3339 with or without seconds, fraction and zone (UTC then); RFC 1123, 2822 and 850, asctime's
// and JavaScript's forms; a count, as below.
std::optional<absl::Time> TimeOfText(std::string_view text);

// Since 1970, in seconds, milliseconds, microseconds or nanoseconds, told apart by size: seconds up
// to the year 5138, and so on. Not 0 or less.
std::optional<absl::Time> TimeOfCount(int64_t count);
std::optional<absl::Time> TimeOfCount(double count);

}  // namespace finetune
