#include "server/json/json_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace finetune {
namespace {

std::string NumberText(double number) {
  JsonWriter writer;
  writer.Number(number);
  return writer.text();
}

TEST(JsonWriter, WritesInTheOrderOfTheCalls) {
  JsonWriter writer;
  writer.StartObject();
  writer.Key("b");
  writer.StartArray();
  writer.Bool(true);
  writer.Null();
  writer.Integer(std::numeric_limits<int64_t>::min());
  writer.EndArray();
  writer.Key("a");
  writer.String("");
  writer.EndObject();
  EXPECT_EQ(writer.text(), R"({"b":[true,null,-9223372036854775808],"a":""})");
}

TEST(JsonWriter, WritesWholeNumbersAsIntegersAsFarAsADoubleIsExact) {
  EXPECT_EQ(NumberText(3), "3");
  EXPECT_EQ(NumberText(-0.0), "0");
  EXPECT_EQ(NumberText(9007199254740992.0), "9007199254740992");
  EXPECT_EQ(NumberText(-9007199254740992.0), "-9007199254740992");
  EXPECT_EQ(NumberText(0.0001), "0.0001");
  EXPECT_EQ(NumberText(1e300), "1e300");
}

TEST(JsonWriter, WritesNullForWhatIsNotFinite) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double number : {infinity, -infinity, std::nan("")})
    EXPECT_EQ(NumberText(number), "null");
}

TEST(JsonWriter, WritesAnyTextSoThatItIsReadBackAsItWas) {
  const std::string text("quote \" slash \\ line \n tab \t nul \0 del \x7f \xe7\x8c\xab", 44);
  JsonWriter writer;
  writer.StartObject();
  writer.Key(text);
  writer.String(text);
  writer.EndObject();
  JsonParser parser;
  const JsonValue* value = parser.Parse(writer.text());
  ASSERT_NE(value, nullptr) << writer.text();
  const JsonValue* member = MemberOf(*value, text);
  ASSERT_NE(member, nullptr);
  EXPECT_EQ(RawText(*member), text);
}

}  // namespace
}  // namespace finetune
