#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace finetune {

// One file of a zip that a test makes. What does not follow from the others can be lied about.
struct ZipFile {
  std::string name;
  std::string content = "pixels";
  uint16_t flags = 0;
  uint16_t method = 0;
  uint32_t attributes = 0;    // Unix mode in the upper half.
  uint32_t claimed_size = 0;  // Unpacked; 0: the content's.
  int64_t claimed_offset = -1;
  bool zip64 = false;
};

// A zip of stored files, byte for byte as APPNOTE.TXT has it.
inline std::string MakeZip(const std::vector<ZipFile>& files, const std::string& comment = "") {
  const auto put = [](std::string& out, uint64_t value, int width) {
    for (int i = 0; i < width; ++i) out += static_cast<char>(value >> (8 * i));
  };
  std::string zip, directory;
  for (const ZipFile& file : files) {
    const uint64_t offset = file.claimed_offset >= 0 ? file.claimed_offset : zip.size();
    const uint32_t size = file.claimed_size != 0 ? file.claimed_size : file.content.size();
    std::string extra;
    if (file.zip64) {
      put(extra, 1, 2), put(extra, 24, 2);
      put(extra, size, 8), put(extra, file.content.size(), 8), put(extra, offset, 8);
    }
    put(zip, 0x04034b50, 4), put(zip, 20, 2), put(zip, file.flags, 2), put(zip, file.method, 2);
    put(zip, 0, 8), put(zip, file.content.size(), 4), put(zip, size, 4);
    put(zip, file.name.size(), 2), put(zip, 0, 2);
    zip += file.name + file.content;
    put(directory, 0x02014b50, 4), put(directory, 3 << 8 | 20, 2), put(directory, 20, 2);
    put(directory, file.flags, 2), put(directory, file.method, 2), put(directory, 0, 8);
    put(directory, file.zip64 ? 0xffffffff : file.content.size(), 4);
    put(directory, file.zip64 ? 0xffffffff : size, 4);
    put(directory, file.name.size(), 2), put(directory, extra.size(), 2), put(directory, 0, 6);
    put(directory, file.attributes, 4), put(directory, file.zip64 ? 0xffffffff : offset, 4);
    directory += file.name + extra;
  }
  const uint64_t start = zip.size();
  zip += directory;
  put(zip, 0x06054b50, 4), put(zip, 0, 4), put(zip, files.size(), 2), put(zip, files.size(), 2);
  put(zip, directory.size(), 4), put(zip, start, 4), put(zip, comment.size(), 2);
  return zip + comment;
}

}  // namespace finetune
