#include "server/store/file_stamp.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "server/base/uuid.h"

namespace finetune {
namespace {

namespace fs = std::filesystem;

class FileStampTest : public ::testing::Test {
 protected:
  FileStampTest() { fs::create_directories(folder_); }
  ~FileStampTest() override { fs::remove_all(folder_); }
  void Write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::trunc) << text;
  }
  const std::string folder_ = testing::TempDir() + "/stamp-" + MakeUuid();
  const std::string path_ = folder_ + "/file";
};

TEST_F(FileStampTest, OfNothingIsNothingsAndNoOthers) {
  const FileStamp none = FileStamp::Of(path_);
  EXPECT_FALSE(none.exists);
  EXPECT_EQ(none, FileStamp());
  EXPECT_FALSE(none.SameFile(none)) << "two files that are not there are not one";
  EXPECT_FALSE(FileStamp::OfOpen(-1).exists);
}

TEST_F(FileStampTest, IsTheSameByPathAndOpen) {
  Write(path_, "text");
  const int file = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  EXPECT_EQ(FileStamp::OfOpen(file), FileStamp::Of(path_));
  EXPECT_EQ(FileStamp::Of(path_).size, 4);
  close(file);
}

TEST_F(FileStampTest, ChangesWithWhatIsWrittenAndNotWithWhoMayRead) {
  Write(path_, "text");
  const FileStamp before = FileStamp::Of(path_);
  fs::permissions(path_, fs::perms::owner_read);
  EXPECT_EQ(FileStamp::Of(path_), before);
  fs::permissions(path_, fs::perms::owner_all);
  // As many bytes, at another time.
  fs::last_write_time(path_, fs::last_write_time(path_) + std::chrono::nanoseconds(1000));
  EXPECT_NE(FileStamp::Of(path_), before);
  EXPECT_TRUE(FileStamp::Of(path_).SameFile(before));
}

TEST_F(FileStampTest, AFileInItsPlaceIsAnother) {
  Write(path_, "text");
  const FileStamp before = FileStamp::Of(path_);
  Write(path_ + ".new", "text");
  fs::last_write_time(path_ + ".new", fs::last_write_time(path_));
  fs::rename(path_ + ".new", path_);
  EXPECT_FALSE(FileStamp::Of(path_).SameFile(before));
  EXPECT_NE(FileStamp::Of(path_), before);
}

}  // namespace
}  // namespace finetune
