#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace finetune {

// Weights are .safetensors files: the length of a header in eight bytes, little-endian, the header
// in JSON, and the tensors' bytes. Source of the format: the safetensors README.

// How many of a file's first bytes are enough to tell what it is.
inline constexpr size_t kTellingBytes = 512;
// The shortest possible file: the length, and an empty header.
inline constexpr int64_t kLeastWeightsBytes = 10;

// The length of the header of a file that begins with `start` (kTellingBytes of it, or all if it is
// shorter); nullopt if it is not a .safetensors file.
std::optional<uint64_t> WeightsHeaderLength(std::string_view start);

// What a file that begins with `start` and is not a .safetensors file seems to be, such as `a web
// page`.
std::string SeemsToBe(std::string_view start);

}  // namespace finetune
