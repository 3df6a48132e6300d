#include "client/cpp/training_data.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/folder_zip.h"
#include "client/cpp/local_file.h"
#include "server/base/utf8.h"
#include "server/dataset/dataset_files.h"
#include "server/dataset/dataset_inspector.h"
#include "server/dataset/zip_directory.h"

namespace finetune::inline client {
namespace {

constexpr size_t kReadSize = 1 << 20;
// The size of a local header without the names.
constexpr size_t kLocalHeader = 30;
// This many packed bytes surely hold the telling head.
constexpr size_t kPackedHead = 4096;
// How many files with the same fault are named.
constexpr size_t kMostNamed = 3;

std::string ReadAt(std::ifstream& file, uint64_t offset, size_t size) {
  std::string bytes(size, '\0');
  file.clear();
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  bytes.resize(std::max<std::streamsize>(0, file.gcount()));
  return bytes;
}

// The first unpacked bytes of a deflated entry.
std::string InflateHead(std::string& packed) {
  std::string head(kTellingHead, '\0');
  z_stream stream = {};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return "";
  stream.next_in = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(head.data());
  stream.avail_out = static_cast<uInt>(head.size());
  inflate(&stream, Z_SYNC_FLUSH);
  head.resize(head.size() - stream.avail_out);
  inflateEnd(&stream);
  return head;
}

// The first bytes of an entry's content.
std::string HeadOf(std::ifstream& file, const ZipEntry& entry) {
  const std::string header = ReadAt(file, entry.offset, kLocalHeader);
  if (header.size() < kLocalHeader) return "";
  const auto number = [&](size_t at) {
    return static_cast<unsigned char>(header[at]) | static_cast<unsigned char>(header[at + 1]) << 8;
  };
  const uint64_t begin = entry.offset + kLocalHeader + number(26) + number(28);
  const size_t size = std::min<uint64_t>(entry.packed_size, kPackedHead);
  std::string packed = ReadAt(file, begin, size);
  return entry.method == 8 ? InflateHead(packed) : packed.substr(0, kTellingHead);
}

// Looks into the images at the zip's top level, and counts their captions.
void LookAtContents(std::ifstream& file, uint64_t size, TrainingData& data) {
  const size_t kept = std::min<uint64_t>(size, DatasetInspector::kKept);
  const std::string tail = ReadAt(file, size - kept, kept);
  std::vector<std::string> odd;
  ReadZipDirectory(tail, size, [&](const ZipEntry& entry) {
    if (entry.name.find('/') != entry.name.npos || IsJunkName(entry.name) || entry.encrypted)
      return;
    if (IsCaptionName(entry.name) || IsMetadataName(entry.name)) ++data.caption_count;
    if (!IsImageName(entry.name) || (entry.method != 0 && entry.method != 8)) return;
    const std::string head = HeadOf(file, entry);
    if (!ImageFormat(head).empty()) return;
    odd.push_back(
        absl::StrCat(ValidUtf8(entry.name, 60), " is ", std::string(KindOfNoImage(head))));
  });
  if (odd.empty()) return;
  const size_t count = odd.size();
  odd.resize(std::min(count, kMostNamed));
  data.faults.push_back(absl::StrCat(count, count == 1 ? " file is" : " files are",
                                     " no image, whatever its name: ", absl::StrJoin(odd, ", "),
                                     count > kMostNamed ? ", ..." : ""));
}

absl::Status LookAtZip(TrainingData& data) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(data.path, error);
  if (error) return LocalFileError("read", data.path, error.value());
  errno = 0;
  std::ifstream file(data.path, std::ios::binary);
  if (!file.good()) return LocalFileError("read", data.path, errno);
  DatasetInspector inspector(static_cast<int64_t>(size));
  std::string block(kReadSize, '\0');
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0)
    inspector.Write(std::string_view(block).substr(0, file.gcount()));
  if (file.bad()) return LocalFileError("read", data.path, errno);
  DatasetFindings findings = inspector.Finish();
  data.size_bytes = static_cast<int64_t>(size);
  data.image_count = findings.image_count;
  if (!findings.fault.empty()) data.faults.push_back(findings.fault);
  for (std::string& warning : findings.warnings) {
    if (warning != findings.fault) data.warnings.push_back(std::move(warning));
  }
  LookAtContents(file, size, data);
  return absl::OkStatus();
}

// What the zip of a folder is called at Segmind.
std::string NameOfZip(const std::string& folder) {
  std::error_code ignored;
  const std::string stem = std::filesystem::canonical(folder, ignored).filename().string();
  return absl::StrCat(stem.empty() ? "dataset" : ValidUtf8(stem), ".zip");
}

absl::Status ZipIt(const std::string& folder, TrainingData& data) {
  auto file = UnnamedFile::Make();
  if (!file.ok()) return file.status();
  data.zip = *std::move(file);
  data.path = data.zip->path();
  data.file_name = NameOfZip(folder);
  const auto zipped = ZipFolder(folder, data.path);
  if (!zipped.ok()) return zipped.status();
  for (const std::string& name : zipped->left_out) {
    data.warnings.push_back(
        absl::StrCat(ValidUtf8(name),
                     " is left out: it is neither an image at the top level nor the caption of "
                     "one"));
  }
  for (const std::string& names : zipped->renamed)
    data.warnings.push_back(absl::StrCat("renamed in the zip: ", ValidUtf8(names)));
  if (zipped->images.empty() && zipped->images_below > 0) {
    data.faults.push_back(absl::StrCat("its ", zipped->images_below,
                                       " images lie in sub-folders: name the one that holds them, "
                                       "or move them up"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TrainingData> LookAtTrainingData(const std::string& path) {
  TrainingData data;
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    if (absl::Status status = ZipIt(path, data); !status.ok()) return status;
  } else {
    data.path = path;
    data.file_name = std::filesystem::path(path).filename().string();
  }
  if (absl::Status status = LookAtZip(data); !status.ok()) return status;
  return data;
}

absl::Status FaultsOf(const TrainingData& data) {
  if (data.faults.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      data.file_name, " is no data to train with: ", absl::StrJoin(data.faults, "; ")));
}

}  // namespace finetune::inline client
