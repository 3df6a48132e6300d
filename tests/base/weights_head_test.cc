#include "server/base/weights_head.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace finetune {
namespace {

// The beginning of weights whose header has `length` bytes and begins with `header`.
std::string Head(uint64_t length, const std::string& header) {
  std::string head;
  for (int i = 0; i < 8; ++i) head.push_back(static_cast<char>(length >> (8 * i)));
  return head + header;
}

TEST(WeightsHead, TellsHowLongTheHeaderIs) {
  EXPECT_EQ(WeightsHeaderLength(Head(2, "{}")), 2u);
  EXPECT_EQ(WeightsHeaderLength(Head(0x01020304, "{")), 0x01020304u);
  EXPECT_EQ(WeightsHeaderLength(Head(100'000'000, "{\"")), 100'000'000u);
  EXPECT_EQ(Head(2, "{}").size(), static_cast<size_t>(kLeastWeightsBytes));
}

TEST(WeightsHead, IsNoneWithoutALengthThatMayBeAndAnObject) {
  for (const std::string& start :
       {std::string(), std::string("12345678"), Head(0, "{"), Head(1, "{"), Head(100'000'001, "{"),
        Head(uint64_t{1} << 63, "{"), Head(UINT64_MAX, "{"), Head(8, " {"), Head(8, "["),
        std::string("{\"__metadata__\":{}}"), std::string("<!DOCTYPE html><html>")})
    EXPECT_EQ(WeightsHeaderLength(start), std::nullopt) << start;
}

TEST(WeightsHead, NamesWhatCameInstead) {
  const std::vector<std::pair<std::string, std::string>> kinds = {
      {"", "an empty file"},
      {"<!doctype HTML>", "a web page"},
      {"\r\n <html lang=en>", "a web page"},
      {"<?xml version=\"1.0\"?><Error>", "XML or HTML, such as a storage's error"},
      {"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer in place of the file"},
      {"{\"error\":1}", "JSON"},
      {" [1]", "JSON"},
      {"PK\3\4rest", "a zip"},
      {"\x1f\x8b\x08", "a gzip-compressed file"},
      {"AccessDenied\n", "text"},
      {"\xef\xbb\xbf<a>", "text"},
      {std::string("\x80\0\1", 3), "a file of another format"}};
  for (const auto& [start, kind] : kinds) EXPECT_EQ(SeemsToBe(start), kind) << start;
}

}  // namespace
}  // namespace finetune
