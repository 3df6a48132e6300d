#include "server/jobs/filter/fold_case.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

TEST(FoldCase, MakesTextsOfOneMeaningTheSame) {
  EXPECT_EQ(FoldCase("Cats AND Dogs 9_-"), "cats and dogs 9_-");
  EXPECT_EQ(FoldCase("ÀÉÎÕÜÞ×"), "àéîõüþ×");
  EXPECT_EQ(FoldCase("ČŠŁŃŹŽİ"), "čšłńźžİ");
  EXPECT_EQ(FoldCase("ΑΒΩς"), "αβωσ");
  EXPECT_EQ(FoldCase("ЁЖЯЂ"), "ёжяђ");
  EXPECT_EQ(FoldCase("猫 ﬀ 😀"), "猫 ﬀ 😀") << "no letters with a case";
}

TEST(FoldCase, LeavesWhatIsNotUtf8) {
  for (const char* text : {"\xC3", "\xC3\xC3", "\xD0z", "\xFF\xFE", "\x80\x81"})
    EXPECT_EQ(FoldCase(text), text);
}

// Folding twice is folding once, and never changes a text's length.
TEST(FoldCase, IsStable) {
  for (unsigned letter = 0x80; letter < 0x800; ++letter) {
    const std::string text = {static_cast<char>(0xC0 | letter >> 6),
                              static_cast<char>(0x80 | (letter & 0x3F))};
    const std::string folded = FoldCase(text);
    EXPECT_EQ(folded.size(), 2u) << letter;
    EXPECT_EQ(FoldCase(folded), folded) << letter;
  }
}

}  // namespace
}  // namespace finetune
