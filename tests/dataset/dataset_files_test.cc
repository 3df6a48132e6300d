#include "server/dataset/dataset_files.h"

#include <gtest/gtest.h>

#include <string>

namespace finetune {
namespace {

TEST(DatasetFiles, NamesTellImagesFromTheirCaptions) {
  for (const char* name : {"a.jpg", "A.JPEG", "a.b.png", "x.webp", "x.bmp", "x.gif", "x.tif",
                           "x.TIFF", "IMG_1.HEIC", "x.heif", "x.avif"})
    EXPECT_TRUE(IsImageName(name)) << name;
  for (const char* name : {"jpg", ".jpg", "a.txt", "a.jpg.part", "a", "", "a.svg", "a.pdf"})
    EXPECT_FALSE(IsImageName(name)) << name;
  EXPECT_TRUE(IsCaptionName("a.txt"));
  EXPECT_TRUE(IsCaptionName("a.Caption"));
  EXPECT_FALSE(IsCaptionName(".txt"));
  EXPECT_TRUE(IsMetadataName("metadata.jsonl"));
  EXPECT_FALSE(IsMetadataName("a.jsonl"));
  EXPECT_TRUE(IsJunkName(".DS_Store"));
  EXPECT_TRUE(IsJunkName("._a.jpg"));
  EXPECT_EQ(StemOf("a.b.jpg"), "a.b");
  EXPECT_EQ(StemOf(".jpg"), ".jpg");
}

TEST(DatasetFiles, HeadsTellImagesFromWhatIsNone) {
  const auto format = [](std::string head) {
    head.resize(kTellingHead, 'x');
    return std::string(ImageFormat(head));
  };
  EXPECT_EQ(format("\xff\xd8\xff\xe0"), "JPEG");
  EXPECT_EQ(format("\x89PNG\r\n\x1a\n"), "PNG");
  EXPECT_EQ(format("GIF89a"), "GIF");
  EXPECT_EQ(format(std::string("RIFF\1\2\3\4WEBP")), "WebP");
  EXPECT_EQ(format("BM"), "BMP");
  EXPECT_EQ(format(std::string("II*\0", 4)), "TIFF");
  EXPECT_EQ(format(std::string("MM\0*", 4)), "TIFF");
  EXPECT_EQ(format(std::string("\0\0\0\x18"
                               "ftypheic",
                               12)),
            "HEIF");
  EXPECT_EQ(format(std::string("\0\0\0\x18"
                               "ftypavif",
                               12)),
            "HEIF");
  EXPECT_EQ(format(std::string("\0\0\0\x18"
                               "ftypmp42",
                               12)),
            "");
  EXPECT_EQ(format("RIFF1234WAVE"), "");
  EXPECT_EQ(ImageFormat(""), "");
  EXPECT_EQ(ImageFormat("BM"), "");
}

TEST(DatasetFiles, WhatIsNoImageIsNamed) {
  EXPECT_EQ(KindOfNoImage(""), "an empty file");
  EXPECT_EQ(KindOfNoImage("\n <!DOCTYPE HTML>"), "a web page");
  EXPECT_EQ(KindOfNoImage("<?xml version"), "XML or HTML");
  EXPECT_EQ(KindOfNoImage("<svg xmlns"), "an SVG drawing");
  EXPECT_EQ(KindOfNoImage("version https://git-lfs.github.com"), "a Git LFS pointer");
  EXPECT_EQ(KindOfNoImage("{\"a\":1}"), "JSON");
  EXPECT_EQ(KindOfNoImage("hello"), "text");
  EXPECT_EQ(KindOfNoImage(std::string("\0\0\0\x18"
                                      "ftypmp42",
                                      12)),
            "a video");
  EXPECT_EQ(KindOfNoImage(std::string("\0\1\2", 3)), "a file of another kind");
}

}  // namespace
}  // namespace finetune
