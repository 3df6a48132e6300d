#include "client/cpp/training_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "client/cpp/local_file.h"
#include "server/base/uuid.h"
#include "tests/client/images.h"
#include "tests/dataset/zip_samples.h"

namespace finetune {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class TrainingDataTest : public testing::Test {
 protected:
  TrainingDataTest() {
    folder_ = std::filesystem::temp_directory_path() / ("training_data_test." + MakeUuid());
    std::filesystem::create_directories(folder_ / "dogs");
  }
  ~TrainingDataTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ / name; }
  void Write(const std::string& name, const std::string& content) {
    std::ofstream(Path(name), std::ios::binary) << content;
  }
  TrainingData Look(const std::string& name) {
    auto data = LookAtTrainingData(Path(name));
    EXPECT_TRUE(data.ok()) << data.status();
    return *std::move(data);
  }
  // The faults of a zip of these files.
  std::vector<std::string> FaultsOfZip(const std::vector<ZipFile>& files) {
    Write("d.zip", MakeZip(files));
    return Look("d.zip").faults;
  }
  // What Python's zipfile says of the zip; it has the names of this many files.
  static bool PythonOpens(const std::string& path, const std::string& names) {
    const std::string check =
        "python3 -c 'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); "
        "sys.exit(z.testzip() is not None or \" \".join(z.namelist()) != sys.argv[2])' ";
    return std::system((check + path + " '" + names + "'").c_str()) == 0;
  }

  std::filesystem::path folder_;
};

TEST_F(TrainingDataTest, AFolderIsZippedWithItsCaptions) {
  Write("dogs/i00.jpg", Jpeg());
  Write("dogs/i00.txt", "a photo of TOK");
  Write("dogs/i01.PNG", Png());
  Write("dogs/i02.heic", std::string("\0\0\0\x18"
                                     "ftypheicxxxx",
                                     16));
  Write("dogs/metadata.jsonl", "{}\n");
  Write("dogs/notes.txt", "not a caption");
  Write("dogs/.DS_Store", "junk");
  const TrainingData data = Look("dogs");
  EXPECT_EQ(data.file_name, "dogs.zip");
  EXPECT_EQ(data.image_count, 3);
  EXPECT_EQ(data.caption_count, 2);
  EXPECT_THAT(data.faults, IsEmpty());
  EXPECT_THAT(data.warnings, ElementsAre(HasSubstr("notes.txt is left out")));
  std::filesystem::copy_file(data.path, Path("made.zip"));
  EXPECT_TRUE(PythonOpens(Path("made.zip"), "i00.jpg i00.txt i01.PNG i02.heic metadata.jsonl"));
  // The zip is judged as the folder was.
  const TrainingData again = Look("made.zip");
  EXPECT_EQ(again.image_count, 3);
  EXPECT_THAT(again.warnings, IsEmpty());
  EXPECT_THAT(again.faults, IsEmpty());
}

TEST_F(TrainingDataTest, NamesOfAnyCodingMakeAZipThatPythonOpens) {
  Write("dogs/caf\xe9.jpg", Jpeg());
  Write("dogs/caf\xe9.txt", "a caf\xe9");
  Write("dogs/back\\slash.png", Png());
  Write("dogs/\xc3\xa9t\xc3\xa9.jpg", Jpeg());
  const TrainingData data = Look("dogs");
  EXPECT_THAT(data.faults, IsEmpty());
  EXPECT_EQ(data.caption_count, 1);
  EXPECT_THAT(data.warnings, Contains(HasSubstr("-> caf\xc3\xa9.jpg")));
  std::filesystem::copy_file(data.path, Path("made.zip"));
  EXPECT_TRUE(PythonOpens(Path("made.zip"),
                          "back_slash.png caf\xc3\xa9.jpg caf\xc3\xa9.txt \xc3\xa9t\xc3\xa9.jpg"));
  Write("dogs/caf\xc3\xa9.jpg", Jpeg());
  EXPECT_THAT(std::string(LookAtTrainingData(Path("dogs")).status().message()),
              HasSubstr("two files"));
}

TEST_F(TrainingDataTest, AFolderThatCannotBeTrainedWithIsFoundOut) {
  EXPECT_THAT(Look("dogs").faults, Contains(HasSubstr("no images")));
  std::filesystem::create_directory(Path("dogs/sub"));
  Write("dogs/sub/a.jpg", Jpeg());
  EXPECT_THAT(Look("dogs").faults, Contains(HasSubstr("1 images lie in sub-folders")));
  Write("dogs/page.jpg", "<!DOCTYPE html><html>Sign in</html>");
  Write("dogs/b.jpg", Jpeg());
  Write("dogs/none.png", "");
  EXPECT_THAT(Look("dogs").faults,
              ElementsAre("2 files are no image, whatever its name: none.png is an empty file, "
                          "page.jpg is a web page"));
  EXPECT_TRUE(absl::IsInvalidArgument(FaultsOf(Look("dogs"))));
  EXPECT_TRUE(IsLocalFileError(LookAtTrainingData(Path("none")).status()));
}

TEST_F(TrainingDataTest, AZipThatCannotBeTrainedWithIsFoundOut) {
  EXPECT_THAT(FaultsOfZip({{"a.jpg", Jpeg()}, {"a.txt", "words"}}), IsEmpty());
  EXPECT_THAT(FaultsOfZip({{"a.txt", "words"}}), Contains(HasSubstr("no images")));
  EXPECT_THAT(FaultsOfZip({{"sub/a.jpg", Jpeg()}}), Contains(HasSubstr("no images")));
  EXPECT_THAT(FaultsOfZip({{"a.jpg", "<html>"}}), Contains(HasSubstr("a.jpg is a web page")));
  EXPECT_THAT(FaultsOfZip({}), Contains(HasSubstr("no images")));
  Write("d.zip", "this is a text");
  EXPECT_THAT(Look("d.zip").faults, ElementsAre("it is no zip"));
  Write("d.zip", MakeZip({{"a.jpg", Jpeg()}}).substr(0, 40));
  EXPECT_THAT(Look("d.zip").faults, ElementsAre(HasSubstr("cut off")));
  Write("d.zip", "");
  EXPECT_THAT(Look("d.zip").faults, Contains(HasSubstr("no zip")));
}

TEST_F(TrainingDataTest, PackedImagesAreLookedIntoAsWell) {
  Write("dogs/good.jpg", Jpeg(std::string(10'000, 'p')));
  Write("dogs/page.jpg", "<html>" + std::string(10'000, ' ') + "</html>");
  const std::string pack =
      absl::StrCat("cd ", Path("dogs"),
                   " && python3 -c 'import zipfile; "
                   "z = zipfile.ZipFile(\"../d.zip\", \"w\", zipfile.ZIP_DEFLATED); "
                   "[z.write(n) for n in (\"good.jpg\", \"page.jpg\")]'");
  ASSERT_EQ(std::system(pack.c_str()), 0);
  EXPECT_THAT(Look("d.zip").faults,
              ElementsAre("1 file is no image, whatever its name: page.jpg is a web page"));
}

}  // namespace
}  // namespace finetune
