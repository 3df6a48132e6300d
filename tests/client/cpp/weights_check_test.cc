#include "client/cpp/weights_check.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/client/weights.h"

namespace finetune {
namespace {

using testing::HasSubstr;

absl::Status Check(const std::string& content) {
  const int file = memfd_create("weights", MFD_CLOEXEC);
  EXPECT_EQ(write(file, content.data(), content.size()), static_cast<ssize_t>(content.size()));
  absl::Status status = CheckWeightsFile(file, "w.safetensors");
  close(file);
  return status;
}

std::string Header(std::string json) {
  std::string file;
  for (int i = 0; i < 8; ++i) file += static_cast<char>(json.size() >> (8 * i));
  return file + json;
}

TEST(WeightsCheck, WeightsAreOfAnySize) {
  for (const size_t bytes : {0, 1, 1000, 3'000'000})
    EXPECT_TRUE(Check(Safetensors(bytes)).ok()) << bytes;
  EXPECT_TRUE(Check(Header(R"({"__metadata__":{"format":"pt"}}  )")).ok());
}

TEST(WeightsCheck, WhatCameInsteadIsNamed) {
  const std::pair<std::string, const char*> cases[] = {
      {"", "an empty file"},
      {"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"},
      {"\n\n  <html>", "a web page"},
      {"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "XML"},
      {R"({"error": "not found"})", "JSON"},
      {"[]", "JSON"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS"},
      {"not found", "text"},
      {std::string("PK\3\4\24\0\0\0\0\0\0\0", 12), "a zip"},
      {std::string("\x1f\x8b\x08\0\0\0\0\0\0\0", 10), "gzip"},
      {std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16), "another format"},
      {std::string(600, '\0'), "another format"},
      {std::string("\2\0\0\0\0\0\0\0", 8), "another format"},
  };
  for (const auto& [content, kind] : cases) {
    const absl::Status status = Check(content);
    EXPECT_TRUE(absl::IsDataLoss(status)) << content;
    EXPECT_TRUE(IsNoWeights(status));
    EXPECT_THAT(std::string(status.message()), HasSubstr(kind)) << content;
  }
}

TEST(WeightsCheck, AHeadThatIsRightDoesNotMakeAWholeFile) {
  const std::string whole = Safetensors(5000);
  EXPECT_FALSE(Check(whole.substr(0, whole.size() - 1)).ok());
  EXPECT_FALSE(Check(whole + "x").ok());
  EXPECT_FALSE(Check(whole.substr(0, 20)).ok());
  EXPECT_FALSE(Check(Header("{broken")).ok());
  EXPECT_FALSE(Check(Header(R"({"w":{"data_offsets":[0]}})")).ok());
  EXPECT_FALSE(Check(Header(R"({"w":{"data_offsets":[0,-5]}})")).ok());
  EXPECT_FALSE(Check(Header(R"({"w":{"data_offsets":[0,1e300]}})")).ok());
  EXPECT_FALSE(Check(Header(R"({"w":7})")).ok());
  EXPECT_FALSE(Check(Header("{" + std::string(5000, '['))).ok());
}

TEST(WeightsCheck, TheStartAloneTellsMostOfIt) {
  EXPECT_TRUE(CheckWeightsStart(std::string_view(Safetensors(5000)).substr(0, 64)).ok());
  EXPECT_TRUE(IsNoWeights(CheckWeightsStart("<!DOCTYPE html>")));
}

}  // namespace
}  // namespace finetune
