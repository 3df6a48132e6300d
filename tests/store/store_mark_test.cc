#include "server/store/store_mark.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "server/base/uuid.h"

namespace finetune {
namespace {

namespace fs = std::filesystem;

StoreMark Mark(uint64_t seq) {
  return {
      .epoch = "0123456789abcdef",
      .era = INT64_MAX,
      .seq = seq,
      .revision = 2 * seq,
      .file = {.exists = true, .device = 1, .inode = UINT64_MAX, .size = 4096, .mtime_nanos = -1}};
}

void ExpectIs(const std::optional<StoreMark>& mark, uint64_t seq) {
  ASSERT_TRUE(mark);
  EXPECT_EQ(mark->epoch, Mark(seq).epoch);
  EXPECT_EQ(mark->era, Mark(seq).era);
  EXPECT_EQ(mark->seq, seq);
  EXPECT_EQ(mark->revision, 2 * seq);
  EXPECT_EQ(mark->file, Mark(seq).file);
}

TEST(StoreMark, ComesBackAsItWas) {
  for (const uint64_t seq : {uint64_t{0}, uint64_t{41}, uint64_t{INT64_MAX} / 2})
    ExpectIs(StoreMark::Decode(Mark(seq).Encode()), seq);
}

TEST(StoreMark, AllAreOfOneSizeSoThatEachReplacesTheOneBefore) {
  EXPECT_EQ(Mark(0).Encode().size(), Mark(INT64_MAX / 2).Encode().size());
}

TEST(StoreMark, NoBytesThatWereChangedOrCutAreOne) {
  const std::string good = Mark(41).Encode();
  for (size_t i = 0; i < good.size(); ++i) {
    std::string changed = good;
    changed[i] ^= 1;
    EXPECT_FALSE(StoreMark::Decode(changed)) << i;
    EXPECT_FALSE(StoreMark::Decode(good.substr(0, i))) << i;
  }
  EXPECT_FALSE(StoreMark::Decode(good + " "));
  EXPECT_FALSE(StoreMark::Decode(std::string(256, '\0')));
  EXPECT_FALSE(StoreMark::Decode("finetune-gateway-mark-1 a b c d e f g h i"));
}

class MarkFileTest : public ::testing::Test {
 protected:
  MarkFileTest() { fs::create_directories(folder_); }
  ~MarkFileTest() override { fs::remove_all(folder_); }
  const std::string folder_ = testing::TempDir() + "/mark-" + MakeUuid();
  MarkFile file_{folder_ + "/mark"};
};

TEST_F(MarkFileTest, HoldsTheLatestThatWasWritten) {
  EXPECT_FALSE(file_.Read());
  for (const uint64_t seq : {9'999, 7, 123'456}) {
    ASSERT_TRUE(file_.Write(Mark(seq)).ok());
    ExpectIs(file_.Read(), seq);
    ExpectIs(MarkFile(file_.path()).Read(), seq);
  }
  file_.Sync();
}

TEST_F(MarkFileTest, IsMadeAnewWhereItIsGoneOrAnotherLiesThere) {
  ASSERT_TRUE(file_.Write(Mark(1)).ok());
  fs::remove(file_.path());
  ASSERT_TRUE(file_.Write(Mark(2)).ok());
  ExpectIs(file_.Read(), 2);
  std::ofstream(file_.path() + ".other") << "not a mark";
  fs::rename(file_.path() + ".other", file_.path());
  EXPECT_FALSE(file_.Read());
  ASSERT_TRUE(file_.Write(Mark(3)).ok());
  ExpectIs(file_.Read(), 3);
}

TEST_F(MarkFileTest, SaysWhichFileCannotBeWritten) {
  fs::create_directories(file_.path());
  const absl::Status status = file_.Write(Mark(1));
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_NE(std::string(status.message()).find(file_.path()), std::string::npos);
  EXPECT_FALSE(file_.Read());
}

TEST_F(MarkFileTest, WaitsForNothingThatIsNoFile) {
  // A pipe that nobody writes to.
  ASSERT_EQ(mkfifo(file_.path().c_str(), 0600), 0);
  EXPECT_FALSE(file_.Read());
  EXPECT_FALSE(file_.Write(Mark(1)).ok());
}

}  // namespace
}  // namespace finetune
