#include "client/cpp/partial_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "client/cpp/local_file.h"
#include "server/base/uuid.h"
#include "tests/client/weights.h"

namespace finetune {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class PartialFileTest : public testing::Test {
 protected:
  PartialFileTest() {
    folder_ = std::filesystem::temp_directory_path() / ("partial_file_test." + MakeUuid());
    std::filesystem::create_directory(folder_);
  }
  ~PartialFileTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ / name; }
  std::string Content(const std::string& name) const {
    std::stringstream content;
    content << std::ifstream(Path(name), std::ios::binary).rdbuf();
    return content.str();
  }
  // How many names there are.
  int Names() const {
    return static_cast<int>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }

  std::filesystem::path folder_;
};

TEST_F(PartialFileTest, GoesOnFromWhatAnEarlierOneLeft) {
  {
    auto file = *PartialFile::Open(Path("w"));
    ASSERT_TRUE(file->Restart("v1").ok());
    ASSERT_TRUE(file->Append("abc").ok());
  }
  auto file = *PartialFile::Open(Path("w"));
  EXPECT_EQ(file->size(), 3);
  EXPECT_EQ(file->generation(), "v1");
  ASSERT_TRUE(file->Append("def").ok());
  const std::string digest = file->Digest();
  EXPECT_EQ(*file->Finish(), digest);
  EXPECT_EQ(Content("w"), "abcdef");
  EXPECT_EQ(Names(), 1);
}

TEST_F(PartialFileTest, TwoDoNotWriteOneFile) {
  auto first = *PartialFile::Open(Path("w"));
  const absl::Status second = PartialFile::Open(Path("w")).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(second));
  EXPECT_FALSE(IsLocalFileError(second));
  EXPECT_THAT(std::string(second.message()), HasSubstr("another process"));
}

TEST_F(PartialFileTest, AFileThatGotItsFinalNameIsNotLockedByItsOldOne) {
  auto a = *PartialFile::Open(Path("w"));
  ASSERT_TRUE(a->Restart("v1").ok());
  ASSERT_TRUE(a->Append("all of it").ok());
  // B opens it before A is done, and locks it afterwards.
  const int b = ::open(Path("w.part").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_TRUE(a->Finish().ok());
  a.reset();
  EXPECT_TRUE(absl::IsUnavailable(LockNamed(b, Path("w.part"))));
  std::ofstream(Path("w.part")) << "another one";
  EXPECT_TRUE(absl::IsUnavailable(LockNamed(b, Path("w.part"))));
  EXPECT_TRUE(LockNamed(b, Path("w")).ok());
  ::close(b);
  ASSERT_TRUE(PartialFile::Open(Path("w")).ok());
  EXPECT_EQ(Content("w"), "all of it");
}

TEST_F(PartialFileTest, WhatTheDiskRefusesIsALocalErrorByItsName) {
  const absl::Status no_folder = PartialFile::Open(Path("none/w")).status();
  EXPECT_TRUE(IsLocalFileError(no_folder));
  EXPECT_THAT(std::string(no_folder.message()),
              AllOf(HasSubstr("none/w.part"), HasSubstr("ENOENT")));
  ASSERT_EQ(mkfifo(Path("f.part").c_str(), 0600), 0);
  EXPECT_TRUE(IsLocalFileError(PartialFile::Open(Path("f")).status()));

  auto file = *PartialFile::Open(Path("d"));
  ASSERT_TRUE(file->Restart("v1").ok());
  std::filesystem::create_directory(Path("d"));
  const absl::Status renamed = file->Finish().status();
  EXPECT_TRUE(IsLocalFileError(renamed)) << renamed;
  EXPECT_THAT(std::string(renamed.message()), HasSubstr("EISDIR"));

  std::filesystem::create_directories(Path("g.part.generation/x"));
  auto unmarked = *PartialFile::Open(Path("g"));
  EXPECT_TRUE(IsLocalFileError(unmarked->Restart("v1")));
}

TEST_F(PartialFileTest, TakesThePlaceOfNothingButAFile) {
  std::filesystem::create_directory(Path("d"));
  ASSERT_EQ(mkfifo(Path("p").c_str(), 0600), 0);
  std::filesystem::create_symlink(Path("p"), Path("l"));
  for (const char* name : {"d", "p", "l"}) {
    const absl::Status status = PartialFile::Open(Path(name)).status();
    EXPECT_TRUE(IsLocalFileError(status)) << name << status;
  }
  EXPECT_THAT(std::string(PartialFile::Open("/dev/null").status().message()),
              HasSubstr("cannot write /dev/null: it is no regular file"));
  EXPECT_EQ(Names(), 3);
}

TEST_F(PartialFileTest, NothingIsLeftOfWhatIsDiscarded) {
  auto file = *PartialFile::Open(Path("w"));
  ASSERT_TRUE(file->Restart("v1").ok());
  ASSERT_TRUE(file->Append("<html>").ok());
  EXPECT_FALSE(file->CheckWeights().ok());
  file->Discard();
  EXPECT_EQ(Names(), 0);
}

}  // namespace
}  // namespace finetune
