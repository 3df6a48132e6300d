#include "server/base/read_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace finetune {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(ReadFile, GivesAllBytes) {
  const std::string path = testing::TempDir() + "/read_file_test";
  std::string content(100'000, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 + i / 256);
  std::ofstream(path, std::ios::binary) << content;
  EXPECT_EQ(*ReadFile(path), content);
  std::ofstream(path, std::ios::trunc).close();
  EXPECT_EQ(*ReadFile(path), "");
  std::filesystem::remove(path);
}

TEST(ReadFile, SaysWhatItCannotReadAndWhy) {
  EXPECT_THAT(std::string(ReadFile("/nowhere/x").status().message()),
              AllOf(HasSubstr("'/nowhere/x'"), HasSubstr("No such file")));
  EXPECT_THAT(std::string(ReadFile("/tmp").status().message()), HasSubstr("Is a directory"));
}

}  // namespace
}  // namespace finetune
