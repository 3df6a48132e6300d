#pragma once

#include <cstddef>
#include <string>

namespace finetune {

// Weights with a header of its own, and so many bytes in all.
inline std::string Weights(size_t size) {
  const std::string header = R"({"w":{}})";
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i));
  bytes += header;
  while (bytes.size() < size) bytes += static_cast<char>('a' + bytes.size() % 23);
  return bytes;
}

}  // namespace finetune
