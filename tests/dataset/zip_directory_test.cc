#include "server/dataset/zip_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/dataset/zip_samples.h"

namespace finetune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Result = ZipDirectory::Result;

struct Told {
  ZipDirectory directory;
  std::vector<std::string> names;
  std::vector<ZipEntry> entries;
};

// As it is read out of the last `tail` bytes of the zip.
Told Read(std::string_view zip, size_t tail = std::string::npos) {
  Told told;
  told.directory = ReadZipDirectory(zip.substr(zip.size() - std::min(zip.size(), tail)), zip.size(),
                                    [&](const ZipEntry& entry) {
                                      told.names.emplace_back(entry.name);
                                      told.entries.push_back(entry);
                                    });
  EXPECT_EQ(told.directory.entries, told.names.size());
  return told;
}

TEST(ZipDirectory, TellsEachEntryAsItIsWritten) {
  const std::string zip = MakeZip({{.name = "a.jpg", .content = "abc"},
                                   {.name = "b.jpg",
                                    .content = "defgh",
                                    .flags = 0x801,
                                    .method = 8,
                                    .attributes = 0120777u << 16,
                                    .claimed_size = 99}});
  const Told told = Read(zip);
  EXPECT_EQ(told.directory.result, Result::kWhole);
  EXPECT_FALSE(told.directory.zip64);
  EXPECT_THAT(told.names, ElementsAre("a.jpg", "b.jpg"));
  EXPECT_EQ(told.entries[0].size, 3u);
  EXPECT_FALSE(told.entries[0].encrypted || told.entries[0].utf8 || told.entries[0].symlink);
  EXPECT_EQ(told.entries[1].packed_size, 5u);
  EXPECT_EQ(told.entries[1].size, 99u);
  EXPECT_EQ(told.entries[1].method, 8);
  EXPECT_TRUE(told.entries[1].encrypted && told.entries[1].utf8 && told.entries[1].symlink);
  EXPECT_EQ(zip.substr(told.entries[1].offset, 4), "PK\3\4");
  EXPECT_EQ(zip.substr(told.directory.start, 4), "PK\1\2");
}

TEST(ZipDirectory, IsFoundBehindACommentThatHoldsAnEndRecord) {
  const std::string inner = MakeZip({{.name = "inner"}});
  const Told told = Read(MakeZip({{.name = "outer"}}, "a comment " + inner + " and more"));
  EXPECT_EQ(told.directory.result, Result::kWhole);
  EXPECT_THAT(told.names, ElementsAre("outer"));
}

TEST(ZipDirectory, IsWholeThoughItHasNoEntries) {
  const Told told = Read(MakeZip({}));
  EXPECT_EQ(told.directory.result, Result::kWhole);
  EXPECT_THAT(told.names, IsEmpty());
}

TEST(ZipDirectory, IsNoneWithoutAnEnd) {
  const std::string zip = MakeZip({{.name = "a"}});
  for (const std::string& bytes : {std::string(), std::string("PK\5\6"), std::string(1000, 'P'),
                                   zip.substr(0, zip.size() - 1), zip + "x"})
    EXPECT_EQ(Read(bytes).directory.result, Result::kNone);
}

TEST(ZipDirectory, SaysWhenItBeginsBeforeTheBytesThatAreThere) {
  const std::string zip = MakeZip({{.name = "a"}, {.name = "b"}});
  const uint64_t start = Read(zip).directory.start;
  const Told whole = Read(zip, zip.size() - start);
  EXPECT_EQ(whole.directory.result, Result::kWhole);
  const Told cut = Read(zip, zip.size() - start - 1);
  EXPECT_EQ(cut.directory.result, Result::kTooLong);
  EXPECT_EQ(cut.directory.start, start);
  EXPECT_THAT(cut.names, IsEmpty());
}

TEST(ZipDirectory, TellsWhatStoodBeforeTheDamage) {
  std::string zip = MakeZip({{.name = "a"}, {.name = "b"}});
  const size_t second = zip.rfind("PK\1\2");
  zip[second] = 'X';
  const Told told = Read(zip);
  EXPECT_EQ(told.directory.result, Result::kDamaged);
  EXPECT_THAT(told.names, ElementsAre("a"));
}

TEST(ZipDirectory, IsDamagedWhereItsEndLiesAboutIt) {
  const std::string zip = MakeZip({{.name = "a"}});
  const size_t end = zip.size() - 22;
  for (const size_t at : {end + 10, end + 12, end + 16}) {  // Entries, size, offset.
    std::string lying = zip;
    ++lying[at];
    EXPECT_EQ(Read(lying).directory.result, Result::kDamaged) << at - end;
  }
  // Something between the directory and its end, or before all of it.
  EXPECT_EQ(Read(zip.substr(0, end) + "gap" + zip.substr(end)).directory.result, Result::kDamaged);
  EXPECT_EQ(Read("gap" + zip).directory.result, Result::kDamaged);
}

TEST(ZipDirectory, TakesSizesFromTheZip64Field) {
  const Told told = Read(MakeZip({{.name = "a", .content = "abc", .zip64 = true}}));
  EXPECT_EQ(told.directory.result, Result::kWhole);
  EXPECT_EQ(told.entries[0].size, 3u);
  EXPECT_EQ(told.entries[0].packed_size, 3u);
  EXPECT_EQ(told.entries[0].offset, 0u);
}

}  // namespace
}  // namespace finetune
