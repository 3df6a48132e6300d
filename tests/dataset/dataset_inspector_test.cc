#include "server/dataset/dataset_inspector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "absl/time/clock.h"
#include "tests/dataset/zip_samples.h"

namespace finetune {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

DatasetFindings Inspect(const std::string& bytes, size_t piece = 1 << 16) {
  DatasetInspector inspector(static_cast<int64_t>(bytes.size()));
  for (size_t at = 0; at < bytes.size(); at += piece)
    inspector.Write(std::string_view(bytes).substr(at, piece));
  return inspector.Finish();
}

TEST(DatasetInspector, CountsTheImagesOfAPlainZip) {
  const DatasetFindings found =
      Inspect(MakeZip({{"a.jpg"}, {"b.JPEG"}, {"c.png"}, {"d.webp"}, {"e.bmp"}}));
  EXPECT_EQ(found.image_count, 5);
  EXPECT_THAT(found.warnings, IsEmpty());
}

TEST(DatasetInspector, FindsTheDirectoryBeforeAComment) {
  const DatasetFindings found = Inspect(MakeZip({{"a.jpg"}}, std::string(65535, 'c')));
  EXPECT_EQ(found.image_count, 1);
  EXPECT_THAT(found.warnings, IsEmpty());
}

TEST(DatasetInspector, WarnsOfWhatSegmindDoesNotTake) {
  const DatasetFindings found = Inspect(MakeZip({{"a.jpg"},
                                                 {"cats/"},
                                                 {"cats/b.jpg"},
                                                 {"notes.pdf"},
                                                 {"inner.zip"},
                                                 {"__MACOSX/._a.jpg"},
                                                 {".DS_Store"},
                                                 {.name = "secret.jpg", .flags = 1}}));
  EXPECT_EQ(found.image_count, 1);
  EXPECT_THAT(found.warnings,
              UnorderedElementsAre(HasSubstr("encrypted, such as 'secret.jpg'"),
                                   HasSubstr("1 entry in sub-folders"),
                                   HasSubstr("archives themselves, such as 'inner.zip'"),
                                   HasSubstr("captions of one, such as 'notes.pdf'"),
                                   HasSubstr("2 entries that a desktop system left behind")));
}

TEST(DatasetInspector, WarnsOfEntriesThatWouldHarmWhoUnpacksThem) {
  const DatasetFindings found =
      Inspect(MakeZip({{"/etc/a.jpg"},
                       {"x/../../b.jpg"},
                       {"c:\\c.jpg"},
                       {.name = "link.jpg", .attributes = 0120777u << 16},
                       {.name = "bomb.png", .method = 8, .claimed_size = 4000000000u},
                       {.name = "twice.jpg", .claimed_offset = 0},
                       {"twice.jpg"}}));
  EXPECT_THAT(found.warnings, Contains(HasSubstr("3 entries with a path that leaves the folder")));
  EXPECT_THAT(found.warnings, Contains(HasSubstr("links, such as 'link.jpg'")));
  EXPECT_THAT(found.warnings, Contains(HasSubstr("unpack to very much more")));
  EXPECT_THAT(found.warnings, Contains(HasSubstr("overlap")));
  EXPECT_THAT(found.warnings, Contains(HasSubstr("a name that came before")));
}

TEST(DatasetInspector, SaysWhatIsNoZipAndWhatIsHalfOfOne) {
  EXPECT_THAT(Inspect("no zip at all").warnings, ElementsAre("it is no zip"));
  EXPECT_THAT(Inspect(std::string(3 << 20, 'x')).warnings, ElementsAre("it is no zip"));
  std::string half = MakeZip({{"a.jpg", std::string(1000, 'x')}});
  half.resize(half.size() / 2);
  EXPECT_THAT(Inspect(half).warnings, ElementsAre(HasSubstr("cut off")));
}

TEST(DatasetInspector, SaysThatAZipWithoutImagesIsEmpty) {
  EXPECT_THAT(Inspect(MakeZip({})).warnings, ElementsAre(HasSubstr("no images")));
  EXPECT_THAT(Inspect(MakeZip({{"a/b.jpg"}})).warnings,
              ElementsAre(HasSubstr("no images"), HasSubstr("sub-folders")));
}

TEST(DatasetInspector, SaysWhatIsNoDatasetAtAll) {
  std::string half = MakeZip({{"a.jpg", std::string(1000, 'x')}});
  half.resize(half.size() / 2);
  EXPECT_THAT(Inspect("a text file").unusable, HasSubstr("no zip"));
  EXPECT_THAT(Inspect(half).unusable, HasSubstr("cut off"));
  EXPECT_THAT(Inspect(MakeZip({})).unusable, HasSubstr("no images"));
  EXPECT_THAT(Inspect(MakeZip({{"cats/a.jpg"}, {"notes.txt"}})).unusable, HasSubstr("no images"));
  EXPECT_THAT(Inspect(MakeZip({{"a.jpg"}, {.name = "b\xff.jpg", .flags = 0x800}})).unusable,
              HasSubstr("UTF-8"));
  for (const std::string& good :
       {MakeZip({{"a.jpg"}, {"a.txt"}, {"metadata.jsonl"}}), MakeZip({{"a.heic"}}),
        MakeZip({{"b\xff.jpg"}}), MakeZip({{"a.jpg"}, {"cats/b.jpg"}})})
    EXPECT_EQ(Inspect(good).unusable, "");
  DatasetInspector large(kDatasetLimitBytes);
  large.Write(MakeZip({}));
  EXPECT_THAT(large.Finish().fault, HasSubstr("100 MB"));
  EXPECT_THAT(large.Finish().unusable, HasSubstr("no zip"));
}

TEST(DatasetInspector, TellsAtTheFirstBytesWhatIsNoZip) {
  const auto may = [](std::string_view start) {
    DatasetInspector inspector(1000);
    inspector.Write(start);
    return inspector.MayBeZip();
  };
  for (const char* start : {"", "P", "PK", "PK\3\4rest", "PK\5\6"})
    EXPECT_TRUE(may(start)) << start;
  for (const char* start : {"<htm", "PKxx", "{", "\x89PNG"}) EXPECT_FALSE(may(start)) << start;
}

TEST(DatasetInspector, ReadsZip64Fields) {
  const DatasetFindings found = Inspect(MakeZip({{.name = "a.jpg", .zip64 = true}, {"b.jpg"}}));
  EXPECT_EQ(found.image_count, 2);
  EXPECT_THAT(found.warnings, IsEmpty());
}

TEST(DatasetInspector, WarnsOfAZipThatIsTooLargeAndOfOneWithTooManyEntries) {
  DatasetInspector inspector(kDatasetLimitBytes);
  EXPECT_THAT(inspector.Finish().warnings, Contains(HasSubstr("100 MB")));
  std::vector<ZipFile> files(30'000);
  for (size_t i = 0; i < files.size(); ++i) files[i].name = "a" + std::to_string(i) + ".jpg";
  const DatasetFindings found = Inspect(MakeZip(files));
  EXPECT_EQ(found.image_count, 0);
  EXPECT_THAT(found.warnings, ElementsAre(HasSubstr("too many entries")));
}

TEST(DatasetInspector, SeesTheSameHoweverTheBytesAreSplit) {
  std::mt19937 random(7);
  std::vector<ZipFile> files;
  for (int i = 0; i < 300; ++i)
    files.push_back({"f" + std::to_string(i) + (i % 3 == 0 ? ".txt" : ".png"),
                     std::string(random() % 9000, 'x')});
  const std::string zip = MakeZip(files, "comment");
  const DatasetFindings whole = Inspect(zip, zip.size());
  EXPECT_EQ(whole.image_count, 200);
  for (int round = 0; round < 20; ++round) {
    DatasetInspector inspector(static_cast<int64_t>(zip.size()));
    for (size_t at = 0; at < zip.size();) {
      const size_t piece = random() % (round % 2 == 0 ? 50 : 200'000);
      inspector.Write(std::string_view(zip).substr(at, piece));
      at += piece;
    }
    const DatasetFindings found = inspector.Finish();
    EXPECT_EQ(found.image_count, whole.image_count);
    EXPECT_EQ(found.warnings, whole.warnings);
  }
}

TEST(DatasetInspector, OutlivesDamageAtAnyPlace) {
  std::mt19937 random(11);
  const std::string zip =
      MakeZip({{.name = "a.jpg", .zip64 = true}, {"b/c.jpg"}, {"d.png"}}, "a comment");
  for (int round = 0; round < 20'000; ++round) {
    std::string damaged = zip;
    for (uint32_t i = 0; i <= random() % 4; ++i)
      damaged[random() % damaged.size()] = static_cast<char>(random() % 3 == 0 ? 0xff : random());
    if (random() % 4 == 0) damaged.resize(random() % damaged.size());
    const DatasetFindings found = Inspect(damaged, 1 + random() % 64);
    EXPECT_LE(found.image_count, 3);
    EXPECT_LE(found.warnings.size(), 16u);
  }
}

TEST(DatasetInspector, IgnoresWhatExceedsTheAnnouncedSize) {
  const std::string zip = MakeZip({{"a.jpg"}});
  DatasetInspector inspector(static_cast<int64_t>(zip.size()));
  inspector.Write(zip + std::string(5 << 20, 'x'));
  inspector.Write("more");
  EXPECT_EQ(inspector.Finish().image_count, 1);
}

}  // namespace
}  // namespace finetune
