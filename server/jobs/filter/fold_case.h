#pragma once

#include <string>
#include <string_view>

namespace finetune {

// Makes texts that differ in their letters' case alone the same: those of Latin, Greek and Cyrillic
// scripts, each letter by itself. Bytes that are not UTF-8 stay.
void FoldCaseTo(std::string_view text, std::string& folded);

inline std::string FoldCase(std::string_view text) {
  std::string folded;
  FoldCaseTo(text, folded);
  return folded;
}

}  // namespace finetune
