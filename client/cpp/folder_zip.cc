#include "client/cpp/folder_zip.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/local_file.h"
#include "server/base/utf8.h"
#include "server/dataset/dataset_files.h"

namespace finetune::inline client {
namespace {

constexpr uint64_t kLargestZip = 0xffffffff;
constexpr size_t kMostEntries = 0xfffe;
constexpr uint16_t kVersion = 20;
// Says that the name is UTF-8.
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

// What the header in front of a file and its entry in the directory have in common.
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

// A name that every reader of zips accepts: valid UTF-8, without characters that would mean a
// folder or move a cursor. Other bytes are taken for ISO 8859-1, in which most old names are.
std::string NameInZip(const std::string& name) {
  const bool valid = ValidUtf8(name) == name;
  std::string result;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_control = byte < 0x20 || byte == 0x7f || (!valid && byte >= 0x80 && byte < 0xa0);
    if (is_control || c == '\\' || c == ':') {
      result += '_';
    } else if (valid || byte < 0x80) {
      result += c;
    } else {
      result += static_cast<char>(0xc0 | (byte >> 6));
      result += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  return result;
}

// What goes into the zip of a folder: each file's name there, and its name in the folder.
struct Choice {
  std::map<std::string, std::string> files;
  FolderZip facts;
};

int CountImagesBelow(const std::filesystem::path& folder) {
  int count = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (IsImageName(entry->path().filename().string())) ++count;
  }
  return count;
}

absl::StatusOr<Choice> Choose(const std::string& folder) {
  std::vector<std::string> images, captions, others;
  FolderZip facts;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    const bool is_file = entry->is_regular_file(ignored) && name.front() != '.';
    if (is_file && IsImageName(name)) {
      images.push_back(name);
    } else if (is_file && (IsCaptionName(name) || IsMetadataName(name))) {
      captions.push_back(name);
    } else if (!IsJunkName(name)) {
      facts.left_out.push_back(name);
      if (entry->is_directory(ignored)) facts.images_below += CountImagesBelow(entry->path());
    }
  }
  if (error) return LocalFileError("read", folder, error.value());
  absl::flat_hash_set<std::string> stems;
  for (const std::string& name : images) stems.insert(std::string(StemOf(name)));
  Choice choice{.files = {}, .facts = std::move(facts)};
  const auto take = [&](const std::string& name, std::vector<std::string>& as) {
    const std::string zip_name = NameInZip(name);
    if (!choice.files.emplace(zip_name, name).second)
      return absl::InvalidArgumentError(
          absl::StrCat("two files of ", folder, " would be called ", zip_name, " in the zip"));
    if (zip_name != name) choice.facts.renamed.push_back(absl::StrCat(name, " -> ", zip_name));
    as.push_back(zip_name);
    return absl::OkStatus();
  };
  for (const std::string& name : images) {
    if (absl::Status status = take(name, choice.facts.images); !status.ok()) return status;
  }
  for (const std::string& name : captions) {
    if (!IsMetadataName(name) && !stems.contains(std::string(StemOf(name)))) {
      choice.facts.left_out.push_back(name);
    } else if (absl::Status status = take(name, choice.facts.captions); !status.ok()) {
      return status;
    }
  }
  for (auto* names : {&choice.facts.images, &choice.facts.captions, &choice.facts.left_out,
                      &choice.facts.renamed})
    std::sort(names->begin(), names->end());
  return choice;
}

}  // namespace

absl::StatusOr<FolderZip> ZipFolder(const std::string& folder, const std::string& path) {
  auto choice = Choose(folder);
  if (!choice.ok()) return choice.status();
  ZipWriter writer(path);
  for (const auto& [zip_name, name] : choice->files) {
    const std::filesystem::path file_path = std::filesystem::path(folder) / name;
    std::error_code error;
    const uintmax_t size = std::filesystem::file_size(file_path, error);
    if (error) return LocalFileError("read", file_path.string(), error.value());
    if (writer.size() + size + 1024 > kLargestZip || choice->files.size() > kMostEntries)
      return absl::InvalidArgumentError(absl::StrCat(folder, " does not fit into a zip"));
    errno = 0;
    std::stringstream content;
    std::ifstream file(file_path, std::ios::binary);
    if (!file.good()) return LocalFileError("read", file_path.string(), errno);
    if (size > 0) content << file.rdbuf();
    writer.Add(zip_name, content.str());
  }
  errno = 0;
  if (!writer.Finish()) {
    return LocalFileError("write", "the zip in the directory for temporary files ($TMPDIR)",
                          errno != 0 ? errno : ENOSPC);
  }
  return std::move(choice->facts);
}

}  // namespace finetune::inline client
