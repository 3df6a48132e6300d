#include "server/segmind/scrubber.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

constexpr char kKey[] = "SG_0a1b2c3d4e5f6789";

std::string Scrubbed(std::string text, const std::string& key = kKey) {
  Scrubber(Secret(key)).Scrub(text);
  return text;
}

std::string PercentEncoded(const std::string& text) {
  std::string all;
  for (const unsigned char c : text) absl::StrAppend(&all, "%", absl::Hex(c, absl::kZeroPad2));
  return all;
}

TEST(Scrubber, TakesTheKeyOutOfAnyText) {
  EXPECT_EQ(Scrubbed(kKey), "[removed]");
  EXPECT_EQ(Scrubbed(absl::StrCat("a", kKey, "b ", kKey)), "a[removed]b [removed]");
  EXPECT_EQ(Scrubbed("nothing of the kind, but long enough"),
            "nothing of the kind, but long enough");
  EXPECT_EQ(Scrubbed(""), "");
  // All but the last letter is not the key.
  EXPECT_EQ(Scrubbed("SG_0a1b2c3d4e5f678"), "SG_0a1b2c3d4e5f678");
}

TEST(Scrubber, FindsItInBase64AtAnyAlignment) {
  for (const std::string& key :
       {std::string(kKey), std::string("\xff\xfe\xfd>>?~?~\xfb\xef\xbe key")}) {
    for (const std::string& before : {"", "x", "xy", "xyz", "user:"}) {
      for (const std::string& after : {"", "1", "12", "123"}) {
        const std::string text = before + key + after;
        std::string url_safe;
        absl::WebSafeBase64Escape(text, &url_safe);
        for (const std::string& code : {absl::Base64Escape(text), url_safe}) {
          const std::string clean = Scrubbed("Basic " + code + ".", key);
          EXPECT_EQ(clean, "Basic [removed].") << before << " " << after << " " << code;
        }
      }
    }
  }
}

TEST(Scrubber, FindsItInOtherDress) {
  std::string split;
  for (const char c : std::string(kKey)) split += std::string(1, c) + " ";
  std::string mixed(kKey);
  mixed.replace(5, 1, PercentEncoded(mixed.substr(5, 1)));
  const std::string code = absl::Base64Escape(kKey);
  for (const std::string& dressed :
       {PercentEncoded(kKey), PercentEncoded(PercentEncoded(kKey)), mixed,
        split.substr(0, split.size() - 1), std::string("SG_0a1b\n2c3d\t4e5f\r\n6789"),
        std::string("SG_0a1b\u200b2c3d\u00a04e5f6789"), absl::BytesToHexString(kKey),
        absl::AsciiStrToUpper(absl::BytesToHexString(kKey)),
        code.substr(0, 9) + "\n" + code.substr(9), PercentEncoded(code),
        PercentEncoded("SG_0a1b 2c3d4e5f6789")}) {
    EXPECT_EQ(Scrubbed("<" + dressed + ">"), "<[removed]>") << dressed;
    EXPECT_TRUE(Scrubber(Secret(kKey)).Finds("<" + dressed + ">"));
  }
}

TEST(Scrubber, KeepsWhatStandsAround) {
  EXPECT_EQ(Scrubbed(absl::StrCat("100% of it,  a\tb ", kKey, " c%20d\n")),
            "100% of it,  a\tb [removed] c%20d\n");
  EXPECT_EQ(Scrubbed("%"), "%");
  EXPECT_EQ(Scrubbed("a long text with a cut escape at its end %4"),
            "a long text with a cut escape at its end %4");
}

TEST(Scrubber, WithoutAKeyChangesNothing) {
  std::string text = "any text";
  Scrubber().Scrub(text);
  EXPECT_EQ(text, "any text");
  EXPECT_EQ(Scrubbed("any text", ""), "any text");
  EXPECT_FALSE(Scrubber(Secret("a")).Finds("banana"));
  // A short one is found as it is.
  EXPECT_EQ(Scrubbed("the key-1 and others", "key-1"), "the [removed] and others");
  EXPECT_EQ(Scrubbed("xaby", "ab"), "x[removed]y");
}

TEST(Scrubber, ReachesEveryCornerOfAnObject) {
  google::protobuf::Struct object;
  (*object.mutable_fields())["plain"].set_string_value("fine");
  (*object.mutable_fields())[kKey].set_string_value("named");
  auto* list = (*object.mutable_fields())["list"].mutable_list_value();
  list->add_values()->set_number_value(3);
  (*list->add_values()->mutable_struct_value()->mutable_fields())["deep"].set_string_value(kKey);
  Scrubber(Secret(kKey)).Scrub(object);
  EXPECT_EQ(object.ShortDebugString().find(kKey), std::string::npos) << object.ShortDebugString();
  EXPECT_EQ(object.fields().at("[removed]").string_value(), "named");
  EXPECT_EQ(object.fields().at("plain").string_value(), "fine");
}

TEST(Scrubber, AgreesWithAPlainSearch) {
  unsigned random = 1;
  const auto next = [&](unsigned n) {
    return (random = random * 1664525u + 1013904223u) / 65536u % n;
  };
  for (int i = 0; i < 20'000; ++i) {
    std::string key, text;
    for (unsigned n = 2 + next(6); n > 0; --n) key += static_cast<char>('a' + next(2));
    for (unsigned n = next(60); n > 0; --n) text += static_cast<char>('a' + next(2));
    ASSERT_EQ(Scrubber(Secret(key)).Finds(text), text.find(key) != std::string::npos)
        << key << " in " << text;
  }
}

}  // namespace
}  // namespace finetune
