#include "server/segmind/error_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/segmind/samples.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kShortKey[] = "the-key-0123456789";

ErrorBody ReadBody(std::string_view body) {
  return ReadErrorBody(body, Scrubber(Secret(kShortKey)));
}

TEST(ErrorWords, AreFoundWhereverTheyStand) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {R"({"error":"words"})", "words"},
      {R"({"error":{"message":"words"}})", "words"},
      {R"({"error":{"error":{"msg":"words"}}})", "words"},
      {R"({"error":{"steps":["too many","odd"]}})", "steps: too many; steps: odd"},
      {R"({"error":["one","two"]})", "one; two"},
      {R"({"error":true,"message":"words"})", "words"},
      {R"({"error":"Bad Request","message":"steps is too big","statusCode":400})",
       "Bad Request; steps is too big"},
      {R"({"detail":"words"})", "words"},
      {R"({"detail":[{"loc":["body","steps"],"msg":"not a number","type":"int_parsing"}]})",
       "body.steps: not a number"},
      {R"({"detail":[{"loc":["body",0],"msg":"a"},{"loc":["body",1],"msg":"b"}]})",
       "body.0: a; body.1: b"},
      {R"({"detail":{"msg":"words"}})", "words"},
      {R"({"errors":["a","b"]})", "a; b"},
      {R"({"errors":[{"field":"name","message":"is too long"}]})", "name: is too long"},
      {R"({"errors":{"name":["is too long"],"steps":"is odd"}})",
       "name: is too long; steps: is odd"},
      {R"({"message":"words"})", "words"},
      {R"({"msg":"words"})", "words"},
      {R"({"reason":"words"})", "words"},
      {R"({"title":"Bad","detail":"words","type":"about:blank"})", "words; Bad"},
      {R"({"error_description":"words"})", "words"},
      {R"({"error":"a\nb\u0000  c\t"})", "a b c"},
      {"\xef\xbb\xbf {\"error\":\"words\"}\n", "words"},
      {"{\"error\":\"\xff\"}", "\xef\xbf\xbd"},
  };
  for (const auto& [body, words] : rows) {
    EXPECT_EQ(ReadBody(body).words, words) << body;
    EXPECT_EQ(ReadBody(body).kind, BodyKind::kError) << body;
  }
}

TEST(ErrorWords, AreNotSegmindsOwnElsewhere) {
  const std::vector<std::tuple<std::string, BodyKind, std::string>> rows = {
      {"", BodyKind::kEmpty, ""},
      {" \r\n", BodyKind::kEmpty, ""},
      {"<html><body>no</body></html>", BodyKind::kPage, ""},
      {" <?xml version=\"1.0\"?><Error/>", BodyKind::kPage, ""},
      {"Too many\n requests", BodyKind::kText, "Too many requests"},
      {"{}", BodyKind::kJson, ""},
      {"[]", BodyKind::kJson, ""},
      {"null", BodyKind::kJson, ""},
      {"200", BodyKind::kJson, ""},
      {"\"words\"", BodyKind::kJson, "words"},
      {"[{\"error\":\"words\"}]", BodyKind::kJson, ""},
      {R"({"error":3})", BodyKind::kJson, ""},
      {R"({"error":null,"errors":[],"detail":"","message":" "})", BodyKind::kJson, ""},
      {R"({"status":"error","code":400})", BodyKind::kJson, ""},
      {R"({"error":"wor)", BodyKind::kCut, ""},
      {R"({"error":"words"} trailing)", BodyKind::kCut, ""},
      {"{\"error\":\"" + std::string(70'000, 'x') + "\"}", BodyKind::kCut, ""},
      {std::string(70'000, 'x'), BodyKind::kCut, ""},
  };
  for (const auto& [body, kind, words] : rows) {
    EXPECT_EQ(ReadBody(body).kind, kind) << body.substr(0, 100);
    EXPECT_EQ(ReadBody(body).words, words) << body.substr(0, 100);
  }
}

TEST(ErrorWords, AreShortAndShowNoSecret) {
  EXPECT_LE(ReadBody("{\"error\":\"" + std::string(5000, 'x') + "\"}").words.size(), 300);
  const std::string words =
      ReadBody(R"({"error":"key the-key-0123456789 for )"
               R"(https://u:pw@s3.amazonaws.com/f.zip?X-Amz-Signature=abc and )"
               R"(SG_0123456789abcdef, /f.zip?Signature=abc or )"
               R"(X-Amz-Date=1&X-Amz-Signature=abc, Bearer eyJhbGciOi",)"
               R"("detail":"the-key- 0123456789"})")
          .words;
  EXPECT_THAT(words, HasSubstr("s3.amazonaws.com/f.zip"));
  for (const char* secret : {"the-key", "0123456789", "Signature", "SG_", "eyJ", "pw"})
    EXPECT_THAT(words, Not(HasSubstr(secret)));
}

TEST(ErrorWords, ComeWithAWordForMachines) {
  EXPECT_EQ(ReadBody(R"({"error":"x","code":"INSUFFICIENT-CREDITS"})").code,
            "insufficient_credits");
  EXPECT_EQ(ReadBody(R"({"error":{"message":"x","type":"rate limit"}})").code, "rate_limit");
  EXPECT_EQ(ReadBody(R"({"error":"x","code":406})").code, "");
  EXPECT_EQ(ReadBody(R"({"error":"x","code":"406"})").code, "");
}

TEST(ErrorWords, TellAJobThatTheyName) {
  EXPECT_TRUE(ReadBody(R"({"error":"x","finetune_id":"a"})").names_job);
  EXPECT_TRUE(ReadBody(R"({"error":"x","finetune":{"id":"a"}})").names_job);
  // Many services give each request a name of its own.
  EXPECT_FALSE(ReadBody(R"({"error":"x","request_id":"a"})").names_job);
}

TEST(ErrorWords, NeverCrashOnHostileBodies) {
  for (const Variation& variation : HostileVariations(
           "{\n\"error\": {\"message\": \"x\"},\n\"detail\": [{\"loc\": [1]}],\n\"errors\": {}\n}"))
    EXPECT_TRUE(IsValidUtf8(ReadBody(variation.body).words)) << variation.name;
}

TEST(Complaints, AreToldFromWhatIsFine) {
  const auto complains = [](const std::string& object) {
    JsonParser parser;
    const JsonValue* value = parser.Parse(object);
    EXPECT_NE(value, nullptr) << object;
    return value != nullptr &&
           std::any_of(value->MemberBegin(), value->MemberEnd(), [](const auto& member) {
             return IsComplaint(RawText(member.name), member.value);
           });
  };
  for (const char* bad :
       {R"({"error":"no"})", R"({"error":true})", R"({"errors":{"a":1}})", R"({"error":7})",
        R"({"error_message":"no"})", R"({"success":false})", R"({"success":"False"})",
        R"({"ok":0})", R"({"status":"failed"})", R"({"status":404})", R"({"code":"500"})"})
    EXPECT_TRUE(complains(bad)) << bad;
  for (const char* fine :
       {R"({"error":null,"errors":[],"error_message":""})", R"({"error":false,"success":true})",
        R"({"error":{},"ok":1,"code":0,"status":200})", R"({"status":"REQUESTED","code":"E7"})",
        R"({"message":"error","detail":"failed","success":"maybe"})"})
    EXPECT_FALSE(complains(fine)) << fine;
}

}  // namespace
}  // namespace finetune
