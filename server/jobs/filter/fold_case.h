#pragma once

#include <string>
#include <string_view>

namespace finetune {

// Makes texts equal that differ only in case: Latin, Greek and Cyrillic letters, each by itself.
// Bytes that are not UTF-8 stay.
void FoldCaseTo(std::string_view text, std::string& folded);

inline std::string FoldCase(std::string_view text) {
  std::string folded;
  FoldCaseTo(text, folded);
  return folded;
}

}  // namespace finetune
