#include "server/dataset/zip_directory.h"

#include <optional>

namespace finetune {
namespace {

constexpr uint32_t kEntryMark = 0x02014b50;
constexpr uint32_t kEndMark = 0x06054b50;
constexpr uint32_t kEnd64Mark = 0x06064b50;
constexpr uint32_t kLocator64Mark = 0x07064b50;
constexpr size_t kEntrySize = 46;
constexpr size_t kEndSize = 22;
constexpr size_t kEnd64Size = 56;
constexpr size_t kLocator64Size = 20;
constexpr size_t kMaxComment = 0xffff;
constexpr uint16_t kZip64Field = 0x0001;
constexpr uint32_t kUnixSymlink = 0120000;
constexpr uint32_t kUnixTypeMask = 0170000;

// A little-endian number at a position that the caller has checked.
uint64_t Number(std::string_view bytes, size_t at, int width) {
  uint64_t value = 0;
  for (int i = width - 1; i >= 0; --i)
    value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// The end record is the last one whose comment ends where the file does.
std::optional<size_t> FindEnd(std::string_view tail) {
  if (tail.size() < kEndSize) return std::nullopt;
  const size_t last = tail.size() - kEndSize;
  for (size_t back = 0; back <= last && back <= kMaxComment; ++back) {
    const size_t at = last - back;
    if (tail[at] == 'P' && Number(tail, at, 4) == kEndMark && Number(tail, at + 20, 2) == back)
      return at;
  }
  return std::nullopt;
}

struct Extent {
  uint64_t entries = 0;
  uint64_t size = 0;
  uint64_t offset = 0;
  uint64_t end = 0;  // In the file: the record that follows the directory begins here.
};

// The zip64 end record that stands before the plain one at `end`, if there is one.
std::optional<Extent> FindEnd64(std::string_view tail, size_t end, uint64_t tail_start) {
  if (end < kLocator64Size || Number(tail, end - kLocator64Size, 4) != kLocator64Mark)
    return std::nullopt;
  const uint64_t offset = Number(tail, end - kLocator64Size + 8, 8);
  if (offset < tail_start || offset - tail_start > end - kLocator64Size) return std::nullopt;
  const size_t at = offset - tail_start;
  if (end - kLocator64Size - at < kEnd64Size || Number(tail, at, 4) != kEnd64Mark)
    return std::nullopt;
  return Extent{.entries = Number(tail, at + 32, 8),
                .size = Number(tail, at + 40, 8),
                .offset = Number(tail, at + 48, 8),
                .end = offset};
}

// Replaces the sizes and the offset that did not fit by those of the zip64 field. False if the
// field lacks them.
bool ReadZip64Field(std::string_view extra, ZipEntry& entry) {
  constexpr uint32_t kElsewhere = 0xffffffff;
  while (extra.size() >= 4) {
    const uint64_t kind = Number(extra, 0, 2), size = Number(extra, 2, 2);
    if (size > extra.size() - 4) return false;
    std::string_view field = extra.substr(4, size);
    extra.remove_prefix(4 + size);
    if (kind != kZip64Field) continue;
    for (uint64_t* value : {&entry.size, &entry.packed_size, &entry.offset}) {
      if (*value != kElsewhere) continue;
      if (field.size() < 8) return false;
      *value = Number(field, 0, 8);
      field.remove_prefix(8);
    }
    return true;
  }
  return entry.size != kElsewhere && entry.packed_size != kElsewhere && entry.offset != kElsewhere;
}

// Takes the next entry off `bytes`; nullopt if there is none there.
std::optional<ZipEntry> TakeEntry(std::string_view& bytes) {
  if (bytes.size() < kEntrySize || Number(bytes, 0, 4) != kEntryMark) return std::nullopt;
  const size_t name = Number(bytes, 28, 2), extra = Number(bytes, 30, 2);
  const size_t whole = kEntrySize + name + extra + Number(bytes, 32, 2);
  if (bytes.size() < whole) return std::nullopt;
  const uint64_t attributes = Number(bytes, 38, 4);
  const bool unix_made = Number(bytes, 5, 1) == 3;
  ZipEntry entry{.name = bytes.substr(kEntrySize, name),
                 .packed_size = Number(bytes, 20, 4),
                 .size = Number(bytes, 24, 4),
                 .offset = Number(bytes, 42, 4),
                 .method = static_cast<uint16_t>(Number(bytes, 10, 2)),
                 .encrypted = (Number(bytes, 8, 2) & 0x41) != 0,
                 .utf8 = (Number(bytes, 8, 2) & 0x800) != 0,
                 .symlink = unix_made && (attributes >> 16 & kUnixTypeMask) == kUnixSymlink};
  if (!ReadZip64Field(bytes.substr(kEntrySize + name, extra), entry)) return std::nullopt;
  bytes.remove_prefix(whole);
  return entry;
}

}  // namespace

ZipDirectory ReadZipDirectory(std::string_view tail, uint64_t file_size,
                              const std::function<void(const ZipEntry&)>& tell) {
  using Result = ZipDirectory::Result;
  ZipDirectory found;
  const std::optional<size_t> end = FindEnd(tail);
  if (!end) return found;
  const uint64_t tail_start = file_size - tail.size();
  Extent extent{.entries = Number(tail, *end + 10, 2),
                .size = Number(tail, *end + 12, 4),
                .offset = Number(tail, *end + 16, 4),
                .end = tail_start + *end};
  found.several_disks = Number(tail, *end + 4, 2) != 0 || Number(tail, *end + 6, 2) != 0;
  if (const auto larger = FindEnd64(tail, *end, tail_start)) {
    found.zip64 = true;
    found.several_disks = false;
    extent = *larger;
  }
  found.result = Result::kDamaged;
  if (extent.size > extent.end || extent.offset != extent.end - extent.size) return found;
  found.start = extent.offset;
  if (extent.offset < tail_start) {
    found.result = Result::kTooLong;
    return found;
  }
  std::string_view directory = tail.substr(extent.offset - tail_start, extent.size);
  while (!directory.empty()) {
    const std::optional<ZipEntry> entry = TakeEntry(directory);
    if (!entry) return found;
    ++found.entries;
    tell(*entry);
  }
  if (found.entries == extent.entries) found.result = Result::kWhole;
  return found;
}

}  // namespace finetune
