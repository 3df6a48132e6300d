#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace finetune {

// Segmind's documented answers, byte for byte: tests/segmind/data/.
std::string Sample(std::string_view file);

// `json` with the raw text `value` for each member called `key`; documented samples have one member
// a line.
std::string WithValue(std::string json, std::string_view key, std::string_view value);
// `json` without the members called `key`.
std::string WithoutMember(std::string json, std::string_view key);

struct Variation {
  std::string name;
  std::string body;
};

// What a hostile or broken Segmind could answer instead of `sample`: at least 30.
std::vector<Variation> HostileVariations(const std::string& sample);

// Whether it is well-formed UTF-8.
bool IsValidUtf8(std::string_view text);

}  // namespace finetune
