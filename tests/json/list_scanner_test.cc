#include "server/json/list_scanner.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace finetune {
namespace {

// The plain way to find the end of a bracketed range. A backslash outside of strings is no JSON,
// and is refused by the parser later.
std::optional<size_t> PlainEnd(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\') {
      if (i + 1 < text.size() && (text[i + 1] == '"' || text[i + 1] == '\\')) ++i;
    } else if (in_string) {
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if (c == '}' || c == ']') {
      if (--depth == 0) return i + 1;
    }
  }
  return std::nullopt;
}

TEST(ListScanner, FindsTheSameEndsAsAPlainLoop) {
  std::mt19937 random(3);
  constexpr std::string_view kAlphabet = "\"\"\\{}[]a,: ";
  for (int i = 0; i < 20'000; ++i) {
    std::string text = "{";
    for (size_t n = random() % 200; n > 0; --n) {
      text += kAlphabet[random() % kAlphabet.size()];
      if (random() % 10 == 0) text += "\"\\\\\\\"\"";
    }
    ASSERT_EQ(ScanBrackets(text, [](size_t, size_t) {}), PlainEnd(text)) << text;
  }
}

TEST(ListScanner, FollowsRunsOfBackslashesAcrossBlocks) {
  for (size_t lead = 0; lead < 130; ++lead) {
    for (size_t run = 0; run < 70; ++run) {
      const std::string text = "[\"" + std::string(lead, 'x') + std::string(run, '\\') + "\"]]\"]]";
      ASSERT_EQ(ScanBrackets(text, [](size_t, size_t) {}), PlainEnd(text)) << lead << " " << run;
    }
  }
}

}  // namespace
}  // namespace finetune
