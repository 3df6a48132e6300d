#include "server/json/list_scanner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

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

// The items of the array that `text` begins with; nullopt if it is none.
std::optional<std::vector<std::string>> Items(std::string_view text) {
  std::vector<std::string> items;
  if (!ScanArray(text, [&](std::string_view item) { items.emplace_back(item); }))
    return std::nullopt;
  return items;
}

TEST(ListScanner, TellsTheItemsOfAnArray) {
  EXPECT_THAT(*Items("[]"), IsEmpty());
  EXPECT_THAT(*Items("[ \n\t]"), IsEmpty());
  EXPECT_THAT(*Items(R"([{"a":[1,2]} , [3], "x],", 4.5,null])"),
              ElementsAre(R"({"a":[1,2]})", "[3]", R"("x],")", "4.5", "null"));
  EXPECT_EQ(ScanArray("[1] tail", [](std::string_view) {}), 3);
}

TEST(ListScanner, RefusesAnArrayWithoutExactlyOneCommaBetweenItems) {
  for (const char* text : {"[,]", "[{},]", "[,{}]", "[{},,{}]", "[{}{}]", "[{} 1]", "[1 2]",
                           "[{}:{}]", "[{}", "[{},{}", "[{}}", "[\"a]"})
    EXPECT_EQ(Items(text), std::nullopt) << text;
}

TEST(ListScanner, TellsWhereEachChildLies) {
  const std::string text = R"({"a":{"b":[]},"c":[{}],"d":"{"})";
  std::vector<std::string> children;
  EXPECT_EQ(
      ScanBrackets(text, [&](size_t begin,
                             size_t end) { children.push_back(text.substr(begin, end - begin)); }),
      text.size());
  EXPECT_THAT(children, ElementsAre(R"({"b":[]})", "[{}]"));
  // Also those that are longer than what is looked at in one go.
  const std::string child = "[" + std::string(500, ' ') + "[[]]" + std::string(500, ' ') + "]";
  EXPECT_THAT(*Items("[" + child + "," + child + "]"), ElementsAre(child, child));
}

TEST(ListScanner, DelimitsOneValue) {
  EXPECT_EQ(ScanValue(R"("a\"b" tail)"), 6);
  EXPECT_EQ(ScanValue("true,"), 4);
  EXPECT_EQ(ScanValue("12}"), 2);
  EXPECT_EQ(ScanValue("{} "), 2);
  EXPECT_EQ(ScanValue("word"), 4);
  for (const char* text : {"", " 1", ",", "]", "\"a", "\"a\\\"", "{", "[[]"})
    EXPECT_EQ(ScanValue(text), std::nullopt) << text;
}

}  // namespace
}  // namespace finetune
