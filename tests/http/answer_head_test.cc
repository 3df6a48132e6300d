#include "server/http/answer_head.h"

#include <gtest/gtest.h>

#include <string>

namespace finetune {
namespace {

TEST(AnswerHead, IsThatOfTheLastAnswer) {
  AnswerHead head;
  for (const char* line : {"HTTP/1.1 100 Continue\r\n", "X-Early: 1\r\n", "\r\n"}) {
    EXPECT_TRUE(head.Take(line));
    EXPECT_FALSE(head.complete());
  }
  EXPECT_TRUE(head.Take("HTTP/2 404\r\n"));
  EXPECT_TRUE(head.Take("X-Request-ID:  a:b \r\n"));
  EXPECT_FALSE(head.complete());
  EXPECT_TRUE(head.Take("\r\n"));
  EXPECT_TRUE(head.complete());
  EXPECT_EQ(head.answer().code, 404);
  ASSERT_EQ(head.answer().headers.size(), 1u);
  EXPECT_EQ(head.answer().Header("x-request-id"), "a:b");
}

TEST(AnswerHead, KeepsNoTrailers) {
  AnswerHead head;
  head.Take("HTTP/1.1 200 OK\r\n");
  head.Take("\r\n");
  EXPECT_TRUE(head.Take("HTTP/1.1 500: odd\r\n"));
  EXPECT_TRUE(head.Take("Retry-After: 5\r\n"));
  EXPECT_TRUE(head.answer().headers.empty());
  EXPECT_TRUE(head.complete());
  EXPECT_EQ(head.answer().code, 200);
}

TEST(AnswerHead, EndsWhatGoesOnForEver) {
  const auto lines_taken = [](const std::string& line) {
    AnswerHead head;
    head.Take("HTTP/1.1 200 OK\r\n");
    if (line[0] != 'H') head.Take("\r\n");
    size_t taken = 0;
    while (taken < 1'000'000 && head.Take(line)) ++taken;
    EXPECT_TRUE(head.too_long());
    EXPECT_TRUE(head.answer().headers.empty());
    return taken;
  };
  // Trailers, short and long; and answers before the answer.
  EXPECT_LE(lines_taken("a: b\r\n"), AnswerHead::kMaxLines);
  EXPECT_LE(lines_taken("a: " + std::string(4000, 'b') + "\r\n"), 16u);
  EXPECT_LE(lines_taken("HTTP/1.1 103 Early Hints\r\n"), AnswerHead::kMaxLines);
}

TEST(AnswerHead, HasNoCodeWhereNoneCanBeRead) {
  AnswerHead head;
  for (const char* line : {"HTTP/1.1 abc\r\n", "HTTP/\r\n", "HTTP/1.1\r\n"}) {
    head.Take(line);
    head.Take("\r\n");
    EXPECT_EQ(head.answer().code, 0) << line;
    EXPECT_FALSE(head.complete()) << line;
  }
}

}  // namespace
}  // namespace finetune
