#include "tests/emulator/bodies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <string>

#include "tests/emulator/encoding.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

using ::testing::HasSubstr;

std::string Unpacked(const std::string& packed) {
  z_stream stream{};
  inflateInit2(&stream, 15 + 32);
  std::string out(16 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = packed.size();
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = out.size();
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

TEST(Errors, SayTheirWordsInEachShape) {
  for (const std::string& shape : ErrorShapes()) {
    const Answer answer = ShapedError(422, shape, "too short", "trigger_word");
    EXPECT_EQ(answer.code, 422);
    if (shape == "empty") continue;
    EXPECT_THAT(*answer.text, HasSubstr("too short")) << shape;
    if (answer.content_type == "application/json") EXPECT_TRUE(ParseJson(*answer.text)) << shape;
  }
  EXPECT_EQ(
      *ShapedError(422, "detail_list", "too short", "trigger_word").text,
      R"({"detail":[{"type":"value_error","loc":["body","trigger_word"],"msg":"too short"}]})");
  EXPECT_EQ(*ShapedError(422, "errors_object", "too short", "trigger_word").text,
            R"({"errors":{"trigger_word":["too short"]}})");
}

TEST(Errors, OfStorageHaveTheirCodes) {
  EXPECT_EQ(StorageError("EntityTooLarge", 0, "").code, 400);
  EXPECT_EQ(StorageError("MissingContentLength", 0, "").code, 411);
  EXPECT_EQ(StorageError("RequestEntityTooLarge", 0, "").code, 413);
  EXPECT_EQ(StorageError("SlowDown", 500, "").code, 500);
  EXPECT_THAT(*StorageError("Whatever", 0, "words").text, HasSubstr("words"));
}

TEST(Errors, RepeatTheKeyInEachForm) {
  EXPECT_EQ(WithKey("a {api_key} b {api_key:base64}", "KEY-1"), "a KEY-1 b S0VZLTE=");
  EXPECT_EQ(WithKey("{api_key:percent}{api_key:hex}", "K1"),
            "%4B%31"
            "4b31");
  EXPECT_EQ(WithKey("{api_key:escaped}", "K"), "\\u004b");
  EXPECT_EQ(WithKey("{api_key:head}|{api_key:tail}", "KEY-1"), "KE|Y-1");
}

TEST(Files, AreAnythingButWeights) {
  for (const std::string& content : FileContents()) EXPECT_EQ(WrongFile(content).code, 200);
  EXPECT_THAT(*WrongFile("lfs_pointer").text, testing::StartsWith("version https://git-lfs"));
  EXPECT_EQ(WrongFile("empty").text->size(), 0u);
  EXPECT_EQ(WrongFile("html_named_binary").content_type, "application/octet-stream");
}

TEST(Encoding, IsReal) {
  EXPECT_EQ(Unpacked(Encoded("[1,2,3]", "gzip")), "[1,2,3]");
  EXPECT_EQ(Unpacked(Encoded("[1,2,3]", "deflate")), "[1,2,3]");
  EXPECT_EQ(Encoded("[1,2,3]", "br"), "[1,2,3]");
}

TEST(Encoding, MakesABombThatIsValidToItsEnd) {
  const std::string bomb = GzipBomb("[7]", (3 << 20) + 5);
  EXPECT_LT(bomb.size(), 16000u);
  EXPECT_EQ(Unpacked(bomb), "[7]" + std::string((3 << 20) + 5, ' '));
}

}  // namespace
}  // namespace finetune::emulator
