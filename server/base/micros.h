#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace finetune {

// An amount in millionths as people read it, such as `12.5`.
std::string ShowMicros(int64_t micros);

// The unit that Segmind counts in.
inline constexpr char kCredits[] = "credits";

// An amount from outside, in millionths; nullopt if it is negative, not a number, or more than a
// million million.
std::optional<int64_t> MicrosOf(double amount);

}  // namespace finetune
