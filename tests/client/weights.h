#pragma once

#include <string>

#include "absl/strings/str_cat.h"

namespace finetune {

// A small file of weights: one tensor of so many bytes.
inline std::string Safetensors(size_t bytes) {
  std::string header = absl::StrCat(R"({"w":{"dtype":"U8","shape":[)", bytes,
                                    R"(],"data_offsets":[0,)", bytes, "]}}");
  while (header.size() % 8 != 0) header += ' ';
  std::string file;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(header.size() >> (8 * i));
  file += header;
  for (size_t i = 0; i < bytes; ++i) file += static_cast<char>(i % 251);
  return file;
}

}  // namespace finetune
