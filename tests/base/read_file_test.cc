#include "server/base/read_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ReadFileTest : public testing::Test {
 protected:
  ReadFileTest() {
    std::string name = testing::TempDir() + "/read-file-XXXXXX";
    folder_ = mkdtemp(name.data());
    path_ = folder_ / "file";
  }
  ~ReadFileTest() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }
  static std::string ErrorOf(const std::string& path) {
    return std::string(ReadFile(path).status().message());
  }

  std::filesystem::path folder_, path_;
};

TEST_F(ReadFileTest, GivesAllBytes) {
  std::string content(100'000, '\0');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 + i / 256);
  Write(content);
  EXPECT_EQ(ReadFile(path_)->text, content);
  EXPECT_TRUE(ReadFile(path_)->lasting);
  Write("");
  EXPECT_EQ(ReadFile(path_)->text, "");
}

TEST_F(ReadFileTest, SkipsTheByteOrderMarkOfUtf8) {
  Write("\xef\xbb\xbftext");
  EXPECT_EQ(ReadFile(path_)->text, "text");
  Write("\xef\xbb");
  EXPECT_EQ(ReadFile(path_)->text, "\xef\xbb");
}

TEST_F(ReadFileTest, SaysWhatItCannotReadAndWhy) {
  EXPECT_THAT(ErrorOf("/nowhere/x"), AllOf(HasSubstr("'/nowhere/x'"), HasSubstr("No such file")));
  EXPECT_THAT(ErrorOf("/tmp"), HasSubstr("Is a directory"));
}

TEST_F(ReadFileTest, ReadsNoEndlessFile) {
  EXPECT_THAT(ErrorOf("/dev/zero"), HasSubstr("more than 4194304 bytes"));
  Write("x");
  std::filesystem::resize_file(path_, uint64_t{1} << 40);
  EXPECT_THAT(ErrorOf(path_), HasSubstr("more than 4194304 bytes"));
}

TEST_F(ReadFileTest, ReadsAPipeToItsEndAlthoughItsWriterIsLate) {
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  std::thread writer([this] {
    std::ofstream file(path_);  // Blocks until it is opened for reading.
    file << "half " << std::flush << std::string(100'000, 'x') << " done";
  });
  const auto read = ReadFile(path_);
  writer.join();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->text, absl::StrCat("half ", std::string(100'000, 'x'), " done"));
  EXPECT_FALSE(read->lasting);
}

TEST_F(ReadFileTest, ReadsWhatAShellPutsInTheFilesPlace) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "token", 5), 5);
  close(ends[1]);
  const auto read = ReadFile(absl::StrCat("/dev/fd/", ends[0]));
  close(ends[0]);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->text, "token");
}

}  // namespace
}  // namespace finetune
