#include "server/access/json_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/access/policy.pb.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(const std::string& json) {
  policy::Policy message;
  return std::string(ReadJsonMessage(json, message).message());
}

TEST(JsonMessage, IsReadUnderBothNamesOfAMember) {
  policy::Policy message;
  ASSERT_TRUE(ReadJsonMessage(R"({"callers":[{"name":"a","role":"ADMIN","seesAllJobs":true},
                                             {"name":"b","role":2,"sees_all_jobs":false}]})",
                              message)
                  .ok());
  EXPECT_TRUE(message.callers(0).sees_all_jobs());
  EXPECT_EQ(message.callers(1).name(), "b");
}

TEST(JsonMessage, IsRefusedWhereAMemberIsThereTwice) {
  EXPECT_THAT(ErrorOf(R"({"callers":[],"callers":[]})"), HasSubstr("'callers' is there twice"));
  EXPECT_THAT(ErrorOf(R"({"callers":[{"role":"VIEWER","role":"ADMIN"}]})"), HasSubstr("'role'"));
  EXPECT_THAT(ErrorOf(R"({"callers":[{"sees_all_jobs":false,"seesAllJobs":true}]})"),
              HasSubstr("'sees_all_jobs'"));
  EXPECT_THAT(ErrorOf(R"({"callers":[{"limits":{"watchers":1,"watchers":2}}]})"),
              HasSubstr("'watchers'"));
  EXPECT_THAT(ErrorOf(R"({"callers":[{"jwts":[{"claims":{"a":"x","a":"y"}}]}]})"),
              HasSubstr("Repeated map key"));
  EXPECT_EQ(ErrorOf(R"({"callers":[{"name":"a"},{"name":"a"}]})"), "");
}

TEST(JsonMessage, IsRefusedWhereAnEnumsNumberStandsForNothing) {
  for (const char* number : {"9", "-1", "4", "2147483647"})
    EXPECT_THAT(ErrorOf(absl::StrCat(R"({"callers":[{"role":)", number, "}]}")),
                HasSubstr(absl::StrCat("'role' has no value ", number)));
  EXPECT_NE(ErrorOf(R"({"callers":[{"role":99999999999}]})"), "");
  EXPECT_NE(ErrorOf(R"({"callers":[{"role":1.5}]})"), "");
}

TEST(JsonMessage, IsRefusedWhereItIsNoJsonByTheStandard) {
  for (const char* json : {"", "{", "{callers:[]}", R"({"callers":[],})", R"({'callers':[]})", "[]",
                           R"({"callers":[]} x)", R"({"callerz":[]})", "null"})
    EXPECT_NE(ErrorOf(json), "") << json;
}

TEST(JsonObject, IsTakenOnlyWhereAllReadersReadTheSame) {
  google::protobuf::Struct object;
  EXPECT_TRUE(ReadJsonObject(R"({"a":{"b":[{"c":1},{"c":2}]},"d":null})", object));
  for (const char* json : {"", "[]", "7", R"({"a":1,"a":1})", R"({"a":[{"b":{"c":1,"c":2}}]})",
                           R"({"sub":"x","sub":"y"})", R"({"a":1,})", "{\"a\":\"\xff\"}"})
    EXPECT_FALSE(ReadJsonObject(json, object)) << json;
  EXPECT_FALSE(ReadJsonObject(R"({"a":)" + std::string(100'000, '['), object));
}

}  // namespace
}  // namespace finetune
