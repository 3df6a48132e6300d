#include "server/port_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "server/base/read_file.h"

namespace finetune {
namespace {

using ::testing::HasSubstr;

class PortFileTest : public ::testing::Test {
 protected:
  PortFileTest() {
    std::string name = testing::TempDir() + "/port-file-XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~PortFileTest() override { std::filesystem::remove_all(folder_); }
  std::string Path() const { return folder_ / "ports.json"; }

  std::filesystem::path folder_;
};

TEST_F(PortFileTest, IsJsonAndLeavesNothingElseBehind) {
  ASSERT_TRUE(WritePortFile(Path(), {.grpc = 1, .webhook = 2, .admin = 3}).ok());
  EXPECT_EQ(ReadFile(Path())->text, "{\"grpc\": 1, \"webhook\": 2, \"admin\": 3}\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(PortFileTest, ReplacesAnEarlierOneAndSaysWhichPortThereIsNot) {
  ASSERT_TRUE(WritePortFile(Path(), {.grpc = 1, .webhook = 2, .admin = 3}).ok());
  ASSERT_TRUE(WritePortFile(Path(), {.grpc = 4, .webhook = std::nullopt, .admin = 5}).ok());
  EXPECT_EQ(ReadFile(Path())->text, "{\"grpc\": 4, \"webhook\": null, \"admin\": 5}\n");
}

TEST_F(PortFileTest, IsWrittenIntoAPipeAndNotPutInItsPlace) {
  ASSERT_EQ(mkfifo(Path().c_str(), 0600), 0);
  const int reader = open(Path().c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_TRUE(WritePortFile(Path(), {.grpc = 1, .webhook = 2, .admin = 3}).ok());
  char text[100] = "";
  EXPECT_GT(read(reader, text, sizeof(text) - 1), 0);
  close(reader);
  EXPECT_STREQ(text, "{\"grpc\": 1, \"webhook\": 2, \"admin\": 3}\n");
  EXPECT_TRUE(std::filesystem::is_fifo(Path()));
}

TEST_F(PortFileTest, NamesTheFlagAndTheFileThatCannotBeWritten) {
  const absl::Status status = WritePortFile(folder_ / "none" / "ports.json", {});
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--port_file: cannot write '"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("/none/ports.json"));
}

}  // namespace
}  // namespace finetune
