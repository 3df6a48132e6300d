#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace finetune {

// One entry of a zip's central directory. Strings point into the bytes that were read.
struct ZipEntry {
  std::string_view name;
  uint64_t packed_size = 0;
  uint64_t size = 0;
  uint64_t offset = 0;  // Of its local header.
  uint16_t method = 0;  // 0 stored, 8 deflated.
  bool encrypted = false;
  bool utf8 = false;  // It says that its name is.
  bool symlink = false;
};

// What reading a directory came to.
struct ZipDirectory {
  enum class Result {
    kWhole,
    kNone,     // There is no end record: not a zip, or one that is cut off.
    kDamaged,  // It contradicts itself; the entries before the damage were told.
    kTooLong,  // It begins before the bytes that are there; no entry was told.
  };
  Result result = Result::kNone;
  uint64_t entries = 0;  // As many as were told.
  bool zip64 = false;
  bool several_disks = false;
  // Where the directory begins: no entry's data can reach beyond.
  uint64_t start = 0;
};

// Reads the central directory of a zip of `file_size` bytes out of its last bytes, and tells each
// entry in turn. Never reads outside `tail`, whatever it holds, and takes time in proportion to it.
// Source of the format: PKWARE's APPNOTE.TXT 6.3.
ZipDirectory ReadZipDirectory(std::string_view tail, uint64_t file_size,
                              const std::function<void(const ZipEntry&)>& tell);

}  // namespace finetune
