#include "client/cli/zip_folder.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace finetune::cli {
namespace {

constexpr uint64_t kLargestZip = 0xffffffff;
constexpr size_t kMostEntries = 0xfffe;
constexpr uint16_t kVersion = 20;
// The name is UTF-8.
constexpr uint16_t kFlags = 1 << 11;
// 1 January 1980, the first day that the format knows: the same images give the same zip.
constexpr uint32_t kTime = (1 << 21 | 1 << 16);

uint32_t Crc32(std::string_view bytes) {
  static const auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0);
      table[i] = value;
    }
    return table;
  }();
  uint32_t crc = ~0u;
  for (unsigned char c : bytes) crc = kTable[(crc ^ c) & 0xff] ^ (crc >> 8);
  return ~crc;
}

void Put(std::string& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

// What the header before a file and its entry in the directory have in common.
std::string Facts(std::string_view name, std::string_view content) {
  std::string facts;
  Put(facts, kVersion, 2);
  Put(facts, kFlags, 2);
  Put(facts, 0, 2);  // Stored.
  Put(facts, kTime, 4);
  Put(facts, Crc32(content), 4);
  Put(facts, content.size(), 4);
  Put(facts, content.size(), 4);
  Put(facts, name.size(), 2);
  Put(facts, 0, 2);
  return facts;
}

class ZipWriter {
 public:
  explicit ZipWriter(const std::string& path) : file_(path, std::ios::binary | std::ios::trunc) {}

  void Add(const std::string& name, const std::string& content) {
    const std::string facts = Facts(name, content);
    directory_ += "PK\1\2";
    Put(directory_, kVersion, 2);
    directory_ += facts;
    // No comment, first disk, no attributes.
    directory_.append(2 + 2 + 2 + 4, '\0');
    Put(directory_, offset_, 4);
    directory_ += name;
    file_ << "PK\3\4" << facts << name << content;
    offset_ += 4 + facts.size() + name.size() + content.size();
    ++entries_;
  }

  bool Finish() {
    std::string end = "PK\5\6";
    Put(end, 0, 4);
    Put(end, entries_, 2);
    Put(end, entries_, 2);
    Put(end, directory_.size(), 4);
    Put(end, offset_, 4);
    Put(end, 0, 2);
    file_ << directory_ << end;
    file_.close();
    return file_.good();
  }

  uint64_t size() const { return offset_ + directory_.size(); }

 private:
  std::ofstream file_;
  std::string directory_;
  uint64_t offset_ = 0;
  size_t entries_ = 0;
};

bool IsImage(const std::filesystem::directory_entry& entry) {
  const std::string extension = absl::AsciiStrToLower(entry.path().extension().string());
  return entry.is_regular_file() && entry.path().filename().string().front() != '.' &&
         (extension == ".jpg" || extension == ".jpeg" || extension == ".png" ||
          extension == ".webp");
}

}  // namespace

absl::StatusOr<ZippedFolder> ZipFolder(const std::string& folder, const std::string& path) {
  std::error_code error;
  ZippedFolder zipped;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    (IsImage(*entry) ? zipped.images : zipped.left_out)
        .push_back(entry->path().filename().string());
  }
  if (error)
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", folder, ": ", error.message()));
  if (zipped.images.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, " has no image (jpg, jpeg, png, webp) at its top level"));
  }
  std::sort(zipped.images.begin(), zipped.images.end());
  std::sort(zipped.left_out.begin(), zipped.left_out.end());
  ZipWriter writer(path);
  for (const std::string& name : zipped.images) {
    const std::filesystem::path image = std::filesystem::path(folder) / name;
    const uintmax_t size = std::filesystem::file_size(image, error);
    if (error || writer.size() + size + 1024 > kLargestZip || zipped.images.size() > kMostEntries) {
      return absl::InvalidArgumentError(absl::StrCat(folder, " does not fit into a zip"));
    }
    std::stringstream content;
    std::ifstream file(image, std::ios::binary);
    if (!file.good())
      return absl::InvalidArgumentError(absl::StrCat("cannot read ", image.string()));
    content << file.rdbuf();
    writer.Add(name, content.str());
  }
  if (!writer.Finish())
    return absl::InternalError(
        absl::StrCat("cannot write the zip of ", folder, "; is there no room left in $TMPDIR?"));
  return zipped;
}

}  // namespace finetune::cli
