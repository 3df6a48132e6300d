#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace finetune::emulator {

// What `rules` makes of a submitted name: rules parted by commas, applied one after the other.
//   upper, lower, title   letters; title: the first of each word large, the others small
//   cut:N                 the first N bytes, never half of a character
//   underscore, space     dashes become that
//   plain                 what is neither letter nor digit goes
//   prefix:TEXT, suffix:TEXT
std::string MangledName(std::string_view rules, std::string_view name);

// What is wrong with the rules, or nothing.
std::optional<std::string> CheckMangling(std::string_view rules);

}  // namespace finetune::emulator
