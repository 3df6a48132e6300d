#include "server/service/transfers/weights_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"

namespace finetune {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

HttpResponse Head(int code, Headers headers) {
  HttpResponse head;
  head.code = code;
  head.headers = std::move(headers);
  return head;
}

HttpResponse Part(const std::string& range) { return Head(206, {{"content-range", range}}); }

// That storage answered what cannot be, in words that hold `words`.
void ExpectMalformed(const WeightsRange& range, const HttpResponse& head,
                     const std::string& words) {
  const auto answer = ReadWeightsAnswer(range, head);
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kInternal) << answer.status();
  EXPECT_EQ(ReasonOf(answer.status()), pb::ErrorReason::UPSTREAM_MALFORMED);
  EXPECT_THAT(std::string(answer.status().message()), testing::HasSubstr(words));
}

TEST(WeightsRange, AsksForAllWithoutAHeader) {
  EXPECT_EQ(WeightsRange{}.header(), "");
  EXPECT_EQ(WeightsRange{}.end(), kMost);
}

TEST(WeightsRange, AsksForOneByteMoreInFrontOfAnOffset) {
  EXPECT_EQ((WeightsRange{.offset = 100}.header()), "bytes=99-");
  EXPECT_EQ((WeightsRange{.offset = 100, .limit = 10}.header()), "bytes=99-109");
  EXPECT_EQ((WeightsRange{.limit = 10}.header()), "bytes=0-9");
}

TEST(WeightsRange, DoesNotOverflow) {
  const WeightsRange range{.offset = 100, .limit = kMost};
  EXPECT_EQ(range.end(), kMost);
  EXPECT_EQ(range.header(), "bytes=99-");
  EXPECT_EQ((WeightsRange{.offset = kMost, .limit = 1}.end()), kMost);
}

TEST(WeightsAnswer, ReadsAWholeFile) {
  const auto answer =
      ReadWeightsAnswer({}, Head(200, {{"content-length", "1000"}, {"etag", "\"e\""}}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->total, 1000);
  EXPECT_EQ(answer->skip, 0);
  EXPECT_EQ(answer->wanted, 1000);
  EXPECT_EQ(answer->generation, "\"e\"");
}

TEST(WeightsAnswer, ReadsAPart) {
  const auto answer = ReadWeightsAnswer({.offset = 100, .limit = 10}, Part("bytes 99-109/1000"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->total, 1000);
  EXPECT_EQ(answer->skip, 1) << "the byte more in front";
  EXPECT_EQ(answer->wanted, 10);
}

TEST(WeightsAnswer, ReadsAPartThatEndsWithTheFile) {
  const auto answer = ReadWeightsAnswer({.offset = 995, .limit = 10}, Part("bytes 994-999/1000"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->wanted, 5);
}

TEST(WeightsAnswer, ContinuesRightAtTheEndWithNothing) {
  const auto answer = ReadWeightsAnswer({.offset = 1000}, Part("bytes 999-999/1000"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->total, 1000);
  EXPECT_EQ(answer->skip, 1);
  EXPECT_EQ(answer->wanted, 0);
}

TEST(WeightsAnswer, SkipsWhatStorageSendsFromTheStartAlthoughAPartWasAskedFor) {
  const auto answer =
      ReadWeightsAnswer({.offset = 100, .limit = 10}, Head(200, {{"content-length", "1000"}}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->skip, 100);
  EXPECT_EQ(answer->wanted, 10);
}

TEST(WeightsAnswer, IsOutOfRangeBeyondTheEnd) {
  for (const HttpResponse& head :
       {Head(416, {{"content-range", "bytes */1000"}}), Head(200, {{"content-length", "1000"}})}) {
    const auto answer = ReadWeightsAnswer({.offset = 1001}, head);
    EXPECT_EQ(answer.status().code(), absl::StatusCode::kOutOfRange) << head.code;
  }
}

TEST(WeightsAnswer, ReadsAnEmptyFile) {
  const auto limited = ReadWeightsAnswer({.limit = 5}, Head(416, {{"content-range", "bytes */0"}}));
  ASSERT_TRUE(limited.ok()) << limited.status();
  EXPECT_EQ(limited->total, 0);
  EXPECT_EQ(limited->wanted, 0);
  ExpectMalformed({.limit = 5}, Head(416, {{"content-range", "bytes */7"}}), "no byte");
  ExpectMalformed({.limit = 5}, Head(416, {}), "no byte");
}

TEST(WeightsAnswer, PrefersTheGenerationToTheETagToTheDate) {
  Headers headers = {{"content-length", "1"}, {"last-modified", "d"}};
  EXPECT_EQ(ReadWeightsAnswer({}, Head(200, headers))->generation, "d");
  headers.emplace_back("etag", "e");
  EXPECT_EQ(ReadWeightsAnswer({}, Head(200, headers))->generation, "e");
  headers.emplace_back("x-goog-generation", "7");
  EXPECT_EQ(ReadWeightsAnswer({}, Head(200, headers))->generation, "7");
}

TEST(WeightsAnswer, TakesNoGenerationThatAClientCouldNotRead) {
  const auto answer = ReadWeightsAnswer(
      {}, Head(200, {{"content-length", "1"}, {"etag", std::string(1000, 'x') + "\xff"}}));
  ASSERT_TRUE(answer.ok());
  EXPECT_LE(answer->generation.size(), 256u);
}

TEST(WeightsAnswer, RefusesWhatContradictsItself) {
  const WeightsRange range{.offset = 100, .limit = 10};
  ExpectMalformed(range, Head(206, {}), "without Content-Range");
  for (const char* text :
       {"bytes */1000", "bytes 99-109/*", "items 99-109/1000", "bytes 99/1000", "bytes -1-109/1000",
        "bytes 99-x/1000", "bytes 99999999999999999999-109/1000"})
    ExpectMalformed(range, Part(text), "without Content-Range");
  for (const char* text : {"bytes 0-109/1000", "bytes 100-109/1000", "bytes 99-110/1000",
                           "bytes 99-98/1000", "bytes 99-109/105"})
    ExpectMalformed(range, Part(text), "another part");
  ExpectMalformed(range,
                  Head(206, {{"content-range", "bytes 99-109/1000"}, {"content-length", "12"}}),
                  "another length");
  ExpectMalformed({}, Head(200, {}), "no Content-Length");
  ExpectMalformed({}, Head(200, {{"content-length", "-5"}}), "no Content-Length");
}

}  // namespace
}  // namespace finetune
