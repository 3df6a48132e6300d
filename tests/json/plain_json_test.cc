#include "server/json/plain_json.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>

#include "server/json/json.h"

namespace finetune {
namespace {

// What RapidJSON makes of a text by itself.
class Reference {
 public:
  bool Parse(std::string_view text) {
    constexpr unsigned kFlags = rapidjson::kParseNanAndInfFlag;
    document_.Parse<kFlags>(text.data(), text.size());
    return !document_.HasParseError();
  }
  const rapidjson::Document& document() const { return document_; }

 private:
  rapidjson::Document document_;
};

// With all members, in their order, which comparing documents would not look at.
std::string Written(const rapidjson::Document& document) {
  rapidjson::StringBuffer text;
  rapidjson::Writer<rapidjson::StringBuffer> writer(text);
  document.Accept(writer);
  return text.GetString();
}

// True if `text` is plain, in which case RapidJSON must say the same of it.
bool ReadsAsRapidJson(const std::string& text) {
  rapidjson::Document document;
  bool plain = false;
  auto generate = [&](rapidjson::Document& to) {
    return plain = PlainJson<rapidjson::Document>::Read(text, to);
  };
  document.Populate(generate);
  if (!plain) return false;
  Reference reference;
  EXPECT_TRUE(reference.Parse(text)) << text;
  EXPECT_EQ(Written(document), Written(reference.document()));
  return true;
}

constexpr std::string_view kJob =
    R"( {"id" : "00000000-0000-4000-8000-000000000001", "name":"é, 日本 and 🐈","steps":500,)"
    R"("rate":0.0001, "negative":-17, "half":-0.5,"big":123456789012345,"none":null,"yes":true,"no":false,)"
    R"("empty":{},"list":[ ],"deep":[[1,{"a":[2]}],"x"],"prompt":"a photo of TOK cat on a red sofa in the light"}
)";

TEST(PlainJson, ReadsWhatIsUsualAsRapidJsonDoes) {
  for (const char* text : {"1",
                           "0",
                           "-1",
                           "0.1",
                           "-0.0",
                           "0.000001",
                           "999999999999999",
                           "4294967295",
                           "4294967296",
                           "-2147483648",
                           "-2147483649",
                           "2147483648",
                           "\"\"",
                           " \"a\" ",
                           "[]",
                           "{}",
                           "null",
                           "true",
                           "false",
                           "[1,2]",
                           "{\"a\":{\"a\":1},\"a\":2}",
                           "\"0123456789abcdef\"",
                           "\"0123456789abcde\""})
    EXPECT_TRUE(ReadsAsRapidJson(text)) << text;
  EXPECT_TRUE(ReadsAsRapidJson(std::string(kJob)));
}

TEST(PlainJson, LeavesWhatIsUnusualOrWrongToOthers) {
  for (const char* text : {"",
                           " ",
                           "\"a\\n\"",
                           "\"\\u0041\"",
                           "\"a\nb\"",
                           "\"\x1f\"",
                           "1e3",
                           "1E3",
                           "0.5e1",
                           "NaN",
                           "Infinity",
                           "-Inf",
                           "1234567890123456",
                           "0.1234567890123456",
                           "00",
                           "01",
                           "-",
                           "-a",
                           "1.",
                           ".5",
                           "+1",
                           "1.e",
                           "[1,]",
                           "[,1]",
                           "[1 2]",
                           "{\"a\":}",
                           "{\"a\" 1}",
                           "{\"a\":1,}",
                           "{,}",
                           "{a:1}",
                           "{'a':1}",
                           "[",
                           "]",
                           "{",
                           "}",
                           "\"",
                           "\"a",
                           "[1",
                           "{\"a\":1",
                           "nul",
                           "truely",
                           "falsE",
                           "1 1",
                           "{} {}",
                           "[}",
                           "{]",
                           "\xef\xbb\xbf{}"})
    EXPECT_FALSE(ReadsAsRapidJson(text)) << text;
  EXPECT_FALSE(ReadsAsRapidJson(std::string("\"a\0b\"", 5)));
  EXPECT_FALSE(ReadsAsRapidJson(std::string("1\0", 2)));
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(ReadsAsRapidJson(nested(32)));
  EXPECT_FALSE(ReadsAsRapidJson(nested(33)));
  EXPECT_FALSE(ReadsAsRapidJson(nested(100'000)));
}

TEST(PlainJson, VouchesForNothingThatRapidJsonReadsInAnotherWay) {
  constexpr std::string_view kBytes = "\"\\{}[]:,.-+0123456789eEtnu a\n\x01\x7f\xc3";
  std::mt19937 random(1);  // NOLINT: the same texts each time.
  int plain = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text(kJob);
    for (unsigned changes = 1 + random() % 3; changes > 0; --changes) {
      const size_t at = random() % text.size();
      if (random() % 3 == 0)
        text.erase(at, 1 + random() % 8);
      else if (random() % 2 == 0)
        text[at] = kBytes[random() % kBytes.size()];
      else
        text.insert(at, 1, kBytes[random() % kBytes.size()]);
      if (text.empty()) text = "1";
    }
    plain += ReadsAsRapidJson(text) ? 1 : 0;
  }
  EXPECT_GT(plain, 1000);
}

TEST(PlainJson, ReadsNumbersToTheLastBitAsTheyAreWritten) {
  std::mt19937_64 random(1);  // NOLINT: the same numbers each time.
  for (int round = 0; round < 20'000; ++round) {
    std::string digits = std::to_string(random() % 1'000'000'000'000'000);
    digits = digits.substr(0, 1 + random() % digits.size());
    const size_t point = random() % digits.size();
    if (point > 0) digits.insert(point, ".");
    if (digits.size() > 1 && digits[0] == '0' && digits[1] != '.') continue;
    if (random() % 2 == 0) digits.insert(0, "-");
    JsonParser parser;
    const JsonValue* value = parser.Parse(digits);
    ASSERT_NE(value, nullptr) << digits;
    EXPECT_EQ(value->GetDouble(), std::stod(digits)) << digits;
    EXPECT_TRUE(ReadsAsRapidJson(digits)) << digits;
  }
}

}  // namespace
}  // namespace finetune
