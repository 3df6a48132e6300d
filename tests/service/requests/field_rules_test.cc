#include "server/service/requests/field_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace finetune {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

TEST(Labels, FollowKubernetes) {
  for (const char* key : {"a", "team", "a.b-c_d", "example.com/team", "9"})
    EXPECT_THAT(WrongWithLabelKey(key), IsEmpty()) << key;
  for (const std::string& key :
       {std::string(""), std::string("-a"), std::string("a-"), std::string("a b"),
        std::string("/a"), std::string("a/"), std::string("Ex.com/a"), std::string(64, 'a')})
    EXPECT_THAT(WrongWithLabelKey(key), Not(IsEmpty())) << key;
  EXPECT_THAT(WrongWithLabelValue(""), IsEmpty());
  EXPECT_THAT(WrongWithLabelValue("v1.2_x"), IsEmpty());
  EXPECT_THAT(WrongWithLabelValue("a b"), Not(IsEmpty()));
  EXPECT_THAT(WrongWithLabelValue(std::string(64, 'a')), Not(IsEmpty()));
}

TEST(FieldRules, CountCharactersAndNotBytes) {
  std::string cats;
  for (int i = 0; i < 10; ++i) cats += "\xe7\x8c\xab";
  EXPECT_THAT(WrongWithText(cats, 10), IsEmpty());
  EXPECT_THAT(WrongWithText(cats + "x", 10), Not(IsEmpty()));
  EXPECT_THAT(WrongWithText("", 0), IsEmpty());
}

TEST(FieldRules, LetLineEndsIntoTextsOfSeveralLinesAlone) {
  EXPECT_THAT(WrongWithText("a\n\tb\r", 10, /*lines=*/true), IsEmpty());
  EXPECT_THAT(WrongWithText("a\nb", 10), Not(IsEmpty()));
  for (const std::string& text :
       {std::string("a\0b", 3), std::string("\x1b[2J"), std::string("\x7f")})
    EXPECT_THAT(WrongWithText(text, 10, /*lines=*/true), Not(IsEmpty()));
}

TEST(FieldRules, TakeTheNameOfAZipAndNoPath) {
  for (const char* name : {"a.zip", "A B.ZIP", "a.b.zip"})
    EXPECT_THAT(WrongWithFileName(name), IsEmpty()) << name;
  for (const std::string& name :
       {std::string(), std::string(".zip"), std::string("a.tar"), std::string("zip"),
        std::string("../a.zip"), std::string("a/b.zip"), std::string("a\\b.zip"),
        std::string(".a.zip"), std::string("a\n.zip"), std::string(125, 'a') + ".zip"})
    EXPECT_THAT(WrongWithFileName(name), Not(IsEmpty())) << name;
}

TEST(FieldRules, TakeLongUrlsOnlyWhereASignatureMakesThemLong) {
  const std::string url = "https://h/d.zip";
  EXPECT_THAT(WrongWithUrl(url), IsEmpty());
  EXPECT_THAT(WrongWithUrl(url + "?sig=" + std::string(4000, 's')), IsEmpty());
  EXPECT_THAT(WrongWithUrl(url + "?sig=" + std::string(9000, 's')), Not(IsEmpty()));
  EXPECT_THAT(WrongWithUrl(url + "?name=" + std::string(4000, 's')), Not(IsEmpty()));
  for (const char* bad :
       {"", "h/d.zip", "gs://b/d.zip", "https://u:p@h/d.zip", "https://h h/d.zip"})
    EXPECT_THAT(WrongWithUrl(bad), Not(IsEmpty())) << bad;
  // What may be a secret is not repeated.
  EXPECT_EQ(WrongWithUrl("https://user:s3cret@h/").find("s3cret"), std::string::npos);
}

TEST(FieldRules, TakeWordsInTheirAlphabetAlone) {
  EXPECT_THAT(WrongWithWord("FAST_FLUX 2-b"), IsEmpty());
  EXPECT_THAT(WrongWithWord("FAST_FLUX2", /*upper=*/true), IsEmpty());
  for (const char* word : {"a", "A B", "A-B"})
    EXPECT_THAT(WrongWithWord(word, /*upper=*/true), Not(IsEmpty())) << word;
  for (const char* word : {"a.b", "a\"b", "\xc3\xa9"})
    EXPECT_THAT(WrongWithWord(word), Not(IsEmpty())) << word;
  EXPECT_THAT(WrongWithWord(std::string(65, 'A')), Not(IsEmpty()));
}

}  // namespace
}  // namespace finetune
