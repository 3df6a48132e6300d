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

// Of whatever file is there.
absl::StatusOr<WeightsAnswer> ReadAnswer(const WeightsRange& range, const HttpResponse& head) {
  return ReadWeightsAnswer(range, "", head);
}

// That storage answered what cannot be, in words that hold `words`.
void ExpectMalformed(const WeightsRange& range, const HttpResponse& head,
                     const std::string& words) {
  const auto answer = ReadAnswer(range, head);
  EXPECT_EQ(answer.status().code(), absl::StatusCode::kInternal) << answer.status();
  EXPECT_EQ(ReasonOf(answer.status()), pb::ErrorReason::UPSTREAM_MALFORMED);
  EXPECT_THAT(std::string(answer.status().message()), testing::HasSubstr(words));
}

TEST(WeightsRange, AsksForAllWithoutAHeader) {
  EXPECT_EQ(WeightsRange{}.header(), "");
  EXPECT_EQ(WeightsRange{}.end(), kMost);
}

TEST(WeightsRange, AsksForOneByteMoreInFrontOfAnOffset) {
  EXPECT_EQ((WeightsRange{.offset = 1000}.header()), "bytes=999-");
  EXPECT_EQ((WeightsRange{.offset = 1000, .limit = 10}.header()), "bytes=999-1009");
}

TEST(WeightsRange, AsksForAllThatTellsWhatTheFileIsNearItsBeginning) {
  EXPECT_EQ((WeightsRange{.limit = 10}.header()), "bytes=0-511");
  EXPECT_EQ((WeightsRange{.offset = 100}.header()), "");
  EXPECT_EQ((WeightsRange{.offset = 100, .limit = 10}.header()), "bytes=0-511");
  EXPECT_EQ((WeightsRange{.offset = 512, .limit = 10}.header()), "bytes=0-521");
  EXPECT_EQ((WeightsRange{.offset = 513, .limit = 10}.header()), "bytes=512-522");
}

TEST(WeightsRange, DoesNotOverflow) {
  const WeightsRange range{.offset = 1000, .limit = kMost};
  EXPECT_EQ(range.end(), kMost);
  EXPECT_EQ(range.header(), "bytes=999-");
  EXPECT_EQ((WeightsRange{.offset = kMost, .limit = 1}.end()), kMost);
}

TEST(WeightsAnswer, ReadsAWholeFile) {
  const auto answer = ReadAnswer({}, Head(200, {{"content-length", "1000"}, {"etag", "\"e\""}}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->total, 1000);
  EXPECT_EQ(answer->skip, 0);
  EXPECT_EQ(answer->wanted, 1000);
  EXPECT_EQ(answer->generation, "\"e\"");
}

TEST(WeightsAnswer, ReadsAPart) {
  const auto answer = ReadAnswer({.offset = 1000, .limit = 10}, Part("bytes 999-1009/2000"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->total, 2000);
  EXPECT_EQ(answer->skip, 1) << "the byte more in front";
  EXPECT_EQ(answer->wanted, 10);
  EXPECT_EQ(answer->telling, 0);
}

TEST(WeightsAnswer, ReadsAPartNearTheBeginningAsWhatTellsTheFormatAndMore) {
  const auto answer = ReadAnswer({.offset = 100, .limit = 10}, Part("bytes 0-511/2000"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->skip, 100);
  EXPECT_EQ(answer->wanted, 10);
  EXPECT_EQ(answer->telling, 512);
  EXPECT_EQ(ReadAnswer({.limit = 10}, Part("bytes 0-99/100"))->telling, 100);
}

TEST(WeightsAnswer, ReadsAPartThatEndsWithTheFile) {
  const auto answer = ReadAnswer({.offset = 995, .limit = 10}, Part("bytes 994-999/1000"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->wanted, 5);
}

TEST(WeightsAnswer, ContinuesRightAtTheEndWithNothing) {
  const auto answer = ReadAnswer({.offset = 1000}, Part("bytes 999-999/1000"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->total, 1000);
  EXPECT_EQ(answer->skip, 1);
  EXPECT_EQ(answer->wanted, 0);
}

TEST(WeightsAnswer, SkipsWhatStorageSendsFromTheStartAlthoughAPartWasAskedFor) {
  const auto answer =
      ReadAnswer({.offset = 100, .limit = 10}, Head(200, {{"content-length", "1000"}}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->skip, 100);
  EXPECT_EQ(answer->wanted, 10);
}

TEST(WeightsAnswer, IsOutOfRangeBeyondTheEnd) {
  for (const HttpResponse& head :
       {Head(416, {{"content-range", "bytes */1000"}}), Head(200, {{"content-length", "1000"}})}) {
    const auto answer = ReadAnswer({.offset = 1001}, head);
    EXPECT_EQ(answer.status().code(), absl::StatusCode::kOutOfRange) << head.code;
  }
}

TEST(WeightsAnswer, TakesNoEmptyOrTinyFileForWeights) {
  ExpectMalformed({.limit = 5}, Head(416, {{"content-range", "bytes */0"}}), "empty");
  ExpectMalformed({}, Head(200, {{"content-length", "0"}}), "empty");
  ExpectMalformed({}, Head(200, {{"content-length", "9"}}), "9 bytes");
  ExpectMalformed({.limit = 5}, Head(416, {{"content-range", "bytes */7"}}), "no byte");
  ExpectMalformed({.limit = 5}, Head(416, {}), "no byte");
}

TEST(WeightsAnswer, TakesNoPageForThePartThatIsContinued) {
  for (const char* type : {"text/html; charset=utf-8", "Application/JSON", "application/xml"})
    ExpectMalformed({.offset = 1000},
                    Head(206, {{"content-range", "bytes 999-1999/2000"}, {"content-type", type}}),
                    "of the type");
  EXPECT_TRUE(ReadAnswer({.offset = 1000}, Head(206, {{"content-range", "bytes 999-1999/2000"},
                                                      {"content-type", "binary/octet-stream"}}))
                  .ok());
}

TEST(WeightsAnswer, TakesNoEncodedBytes) {
  for (const char* coding : {"gzip", "deflate", "br", "identity, gzip", "aws-chunked,GZIP", "zstd"})
    ExpectMalformed({}, Head(200, {{"content-length", "1000"}, {"content-encoding", coding}}),
                    "packed");
  for (const char* coding : {"identity", "", "aws-chunked", " Identity ,"})
    EXPECT_TRUE(
        ReadAnswer({}, Head(200, {{"content-length", "1000"}, {"content-encoding", coding}})).ok())
        << coding;
}

TEST(WeightsAnswer, IsRefusedWhenTheFileIsAnother) {
  const auto read = [](const std::string& generation, const HttpResponse& head) {
    return ReadWeightsAnswer({.offset = 1000}, generation, head).status();
  };
  const HttpResponse same =
      Head(206, {{"content-range", "bytes 999-1999/2000"}, {"etag", "\"a\""}});
  EXPECT_TRUE(read("\"a\"", same).ok());
  EXPECT_TRUE(read("", same).ok());
  for (const HttpResponse& other :
       {Head(206, {{"content-range", "bytes 999-1999/2000"}, {"etag", "\"b\""}}),
        Head(206, {{"content-range", "bytes 999-1999/2000"}}),
        Head(200, {{"content-length", "500"}, {"etag", "\"b\""}}),
        Head(416, {{"content-range", "bytes */500"}, {"etag", "\"b\""}}), Head(416, {}),
        Head(200, {{"content-length", "0"}, {"etag", "\"b\""}})}) {
    const absl::Status status = read("\"a\"", other);
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted) << status;
    EXPECT_EQ(ReasonOf(status), pb::ErrorReason::WEIGHTS_CHANGED);
  }
  EXPECT_EQ(read("\"a\"", Head(416, {{"content-range", "bytes */500"}, {"etag", "\"a\""}})).code(),
            absl::StatusCode::kOutOfRange);
}

TEST(WeightsStart, IsThatOfSafetensors) {
  const auto start = [](uint64_t length, std::string json) {
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i));
    return bytes + json;
  };
  EXPECT_TRUE(CheckWeightsStart(start(2, "{}"), 10).ok());
  EXPECT_TRUE(CheckWeightsStart(start(500, "{\"w\""), 508).ok());
  struct Case {
    std::string start;
    const char* words;
  };
  for (const Case& c :
       {Case{start(501, "{\"w\""), "own header"}, Case{"<!DOCTYPE html><html>", "web page"},
        Case{R"({"error":"expired"})", "JSON"}, Case{"<?xml version=\"1.0\"?><Error>", "XML"},
        Case{"version https://git-lfs.github.com/spec/v1\n", "Git LFS"},
        Case{start(1, "{"), "another format"}, Case{start(200'000'000, "{"), "another format"},
        Case{start(2, "[]"), "another format"}, Case{start(2, ""), "another format"}}) {
    const absl::Status status = CheckWeightsStart(c.start, 508);
    EXPECT_EQ(ReasonOf(status), pb::ErrorReason::UPSTREAM_MALFORMED);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(c.words));
  }
}

TEST(WeightsAnswer, PrefersTheGenerationToTheETagToTheDate) {
  Headers headers = {{"content-length", "100"}, {"last-modified", "d"}};
  EXPECT_EQ(ReadAnswer({}, Head(200, headers))->generation, "d");
  headers.emplace_back("etag", "e");
  EXPECT_EQ(ReadAnswer({}, Head(200, headers))->generation, "e");
  headers.emplace_back("x-goog-generation", "7");
  EXPECT_EQ(ReadAnswer({}, Head(200, headers))->generation, "7");
}

TEST(WeightsAnswer, TakesNoGenerationThatAClientCouldNotRead) {
  const auto answer = ReadAnswer(
      {}, Head(200, {{"content-length", "100"}, {"etag", std::string(1000, 'x') + "\xff"}}));
  ASSERT_TRUE(answer.ok());
  EXPECT_LE(answer->generation.size(), 256u);
}

TEST(WeightsAnswer, RefusesWhatContradictsItself) {
  const WeightsRange range{.offset = 1000, .limit = 10};
  ExpectMalformed(range, Head(206, {}), "without Content-Range");
  for (const char* text :
       {"bytes */2000", "bytes 999-1009/*", "items 999-1009/2000", "bytes 999/2000",
        "bytes -1-1009/2000", "bytes 999-x/2000", "bytes 999999999999999999999-1009/2000"})
    ExpectMalformed(range, Part(text), "without Content-Range");
  for (const char* text : {"bytes 0-1009/2000", "bytes 1000-1009/2000", "bytes 999-1010/2000",
                           "bytes 999-998/2000", "bytes 999-1009/1005"})
    ExpectMalformed(range, Part(text), "another part");
  ExpectMalformed(range,
                  Head(206, {{"content-range", "bytes 999-1009/2000"}, {"content-length", "12"}}),
                  "another length");
  ExpectMalformed({}, Head(200, {}), "no Content-Length");
  ExpectMalformed({}, Head(200, {{"content-length", "-5"}}), "no Content-Length");
}

}  // namespace
}  // namespace finetune
