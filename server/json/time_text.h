#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "absl/time/time.h"

namespace finetune {

// These read a point in time, in any of the forms in which services write one. Nullopt for any
// other text, and outside of the years 1 to 9999; never the present time as a substitute.

// RFC 3339 with or without seconds, fraction and zone (UTC then); RFC 1123, 2822 and 850, asctime's
// and JavaScript's forms; a count, as below.
std::optional<absl::Time> TimeOfText(std::string_view text);

// Since 1970, in seconds, milliseconds, microseconds or nanoseconds, told apart by size: seconds up
// to the year 5138, and so on. Not 0 or less.
std::optional<absl::Time> TimeOfCount(int64_t count);
std::optional<absl::Time> TimeOfCount(double count);

}  // namespace finetune
