#include "server/json/json_struct.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

Struct Converted(const std::string& json, StructBudget budget = {}) {
  JsonParser parser;
  const JsonValue* value = parser.Parse(json);
  EXPECT_NE(value, nullptr) << json;
  return value == nullptr ? Struct() : ToStruct(*value, budget);
}

std::string JsonOf(const Value& value) {
  JsonWriter writer;
  WriteJson(value, writer);
  return writer.text();
}

TEST(JsonStruct, KeepsEveryKindOfValueThereAndBack) {
  for (const char* json :
       {"null", "true", "false", "0", "-3", "0.5", "\"\"", "\"text\"", "[]", "{}",
        R"([1,"a",[null],{"b":false}])", R"({"a":{"b":[0.25]}})", "9007199254740992"})
    EXPECT_EQ(JsonOf(Converted(absl::StrCat("{\"v\":", json, "}")).fields().at("v")), json);
}

TEST(JsonStruct, MakesNothingOfWhatIsNoObject) {
  for (const char* json : {"null", "1", "\"a\"", "[{\"a\":1}]"})
    EXPECT_TRUE(Converted(json).fields().empty()) << json;
}

TEST(JsonStruct, KeepsTheDigitsOfWholeNumbersThatADoubleCannotHold) {
  const Struct numbers =
      Converted(R"({"odd":9007199254740993,"less":-9007199254740993,"most":18446744073709551615,
                    "beyond":123456789012345678901234567890})");
  EXPECT_EQ(numbers.fields().at("odd").string_value(), "9007199254740993");
  EXPECT_EQ(numbers.fields().at("less").string_value(), "-9007199254740993");
  EXPECT_EQ(numbers.fields().at("most").string_value(), "18446744073709551615");
  EXPECT_EQ(numbers.fields().at("beyond").string_value(), "123456789012345678901234567890");
}

TEST(JsonStruct, DropsWhatIsNotFiniteWhereverItStands) {
  const Struct left = Converted(R"({"a":NaN,"b":[1,Infinity,2],"c":{"d":-Infinity,"e":3}})");
  EXPECT_FALSE(left.fields().contains("a"));
  EXPECT_EQ(JsonOf(left.fields().at("b")), "[1,2]");
  EXPECT_EQ(JsonOf(left.fields().at("c")), R"({"e":3})");
}

TEST(JsonStruct, DropsALevelThatIsTooDeepAndKeepsItsNeighbours) {
  const Struct left = Converted(R"({"a":{"b":{"c":{}},"kept":1},"z":2})", {.depth = 2});
  EXPECT_EQ(JsonOf(left.fields().at("a")), R"({"kept":1})");
  EXPECT_EQ(left.fields().at("z").number_value(), 2);
}

TEST(JsonStruct, SpendsOneBudgetOnAllThatIsAdded) {
  StructBudget budget{.values = 3, .bytes = 5};
  Struct out;
  JsonParser parser;
  const JsonValue& text = *parser.Parse("\"xyz\"");
  EXPECT_TRUE(AddToStruct("a", text, budget, out));
  EXPECT_FALSE(AddToStruct("b", text, budget, out));
  EXPECT_FALSE(out.fields().contains("b"));
  JsonParser other;
  EXPECT_TRUE(AddToStruct("", *other.Parse("1"), budget, out));
  EXPECT_EQ(out.fields_size(), 2);
  EXPECT_EQ(budget.values, 0);
  EXPECT_FALSE(AddToStruct("", *other.Parse("2"), budget, out));
  EXPECT_EQ(out.fields().at("").number_value(), 1);
}

TEST(JsonStruct, RepairsTheEncodingOfNamesAndTexts) {
  const Struct left = Converted("{\"n\xff\":\"v\xff\"}");
  EXPECT_EQ(left.fields().at("n\xef\xbf\xbd").string_value(), "v\xef\xbf\xbd");
  EXPECT_TRUE(Struct().ParseFromString(left.SerializeAsString()));
}

TEST(JsonStruct, WritesAValueThatWasNeverSetAsNull) { EXPECT_EQ(JsonOf(Value()), "null"); }

}  // namespace
}  // namespace finetune
