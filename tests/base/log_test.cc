#include "server/base/log.h"

#include <gtest/gtest.h>

namespace finetune {
namespace {

TEST(JsonString, EscapesWhatMustBe) {
  EXPECT_EQ(JsonString(""), "\"\"");
  EXPECT_EQ(JsonString("plain \xc3\xa9"), "\"plain \xc3\xa9\"");
  EXPECT_EQ(JsonString("a\"b\\c\nd\re\tf"), R"("a\"b\\c\nd\re\tf")");
  EXPECT_EQ(JsonString(std::string_view("\0\x01\x1f", 3)), R"("\u0000\u0001\u001f")");
}

TEST(JsonString, IsValidUtf8WhateverComesIn) {
  EXPECT_EQ(JsonString("a\xff"), "\"a\xef\xbf\xbd\"");
}

TEST(Log, WritesWhatItsLevelAllows) {
  SetLogLevel(LogLevel::kWarning);
  EXPECT_FALSE(LogEnabled(LogLevel::kInfo));
  EXPECT_TRUE(LogEnabled(LogLevel::kWarning));
  EXPECT_TRUE(LogEnabled(LogLevel::kError));
  SetLogLevel(LogLevel::kInfo);
  EXPECT_TRUE(LogEnabled(LogLevel::kInfo));
}

}  // namespace
}  // namespace finetune
