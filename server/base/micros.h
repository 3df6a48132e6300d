#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace finetune {

// An amount of millionths as people read it, such as `12.5`.
std::string ShowMicros(int64_t micros);

// What Segmind counts in.
inline constexpr char kCredits[] = "credits";

// An amount that somebody else tells, in millionths; nullopt for one that is negative, no number, or
// more than a million million.
std::optional<int64_t> MicrosOf(double amount);

}  // namespace finetune
