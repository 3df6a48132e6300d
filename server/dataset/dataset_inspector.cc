#include "server/dataset/dataset_inspector.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/base/utf8.h"
#include "server/dataset/dataset_files.h"
#include "server/dataset/zip_directory.h"

namespace finetune {
namespace {

// No set of photographs unpacks to more, and a flat drawing of that size is no use for training.
constexpr uint64_t kMaxUnpacked = uint64_t{2} << 30;
constexpr uint64_t kMaxRatio = 200;
constexpr uint64_t kLocalHeader = 30;

// Files that desktop systems add to archives without the user's knowledge.
bool IsJunk(absl::string_view name) {
  const absl::string_view file = name.substr(name.rfind('/') + 1);
  return absl::StartsWith(name, "__MACOSX/") || IsJunkName({file.data(), file.size()});
}

bool LeavesFolder(absl::string_view name) {
  if (absl::StartsWith(name, "/") || absl::StartsWith(name, "\\") ||
      (name.size() > 1 && name[1] == ':'))
    return true;
  while (true) {
    const size_t end = name.find_first_of("/\\");
    if (name.substr(0, end) == "..") return true;
    if (end == name.npos) return false;
    name.remove_prefix(end + 1);
  }
}

// A file's name as a warning shows it.
std::string Shown(std::string_view name) {
  std::string shown = ValidUtf8(name, 60);
  for (char& c : shown)
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) c = '?';
  return absl::StrCat("'", shown, "'");
}

// How many files have a fault, and the name of one of them.
struct Tally {
  int count = 0;
  std::string example;

  void Add(std::string_view name) {
    if (count++ == 0) example = Shown(name);
  }
};

// Sorts entries by what the warnings are about.
class Survey {
 public:
  explicit Survey(uint64_t file_size) : file_size_(file_size) {}

  void Take(const ZipEntry& entry) {
    const absl::string_view name(entry.name.data(), entry.name.size());
    unpacked_ += std::min(entry.size, kMaxUnpacked);
    extents_.emplace_back(entry.offset, entry.packed_size);
    if (!names_.insert(std::string(name)).second) repeated_.Add(entry.name);
    misnamed_ = misnamed_ || (entry.utf8 && ValidUtf8(entry.name) != entry.name);
    if (entry.size > kMaxUnpacked ||
        (entry.size > (1 << 20) && entry.size / kMaxRatio > entry.packed_size))
      bombs_.Add(entry.name);
    if (LeavesFolder(name)) return outside_.Add(entry.name);
    if (entry.symlink) return links_.Add(entry.name);
    if (IsJunk(name)) return junk_.Add(entry.name);
    if (entry.encrypted) return encrypted_.Add(entry.name);
    if (absl::EndsWith(name, "/")) return folders_.Add(entry.name);
    if (absl::StrContains(name, "/") || absl::StrContains(name, "\\"))
      return in_folders_.Add(entry.name);
    if (IsArchiveName(entry.name)) return archives_.Add(entry.name);
    if (IsMetadataName(entry.name)) return;
    if (IsCaptionName(entry.name)) {
      captions_.emplace_back(entry.name);
      return;
    }
    if (!IsImageName(entry.name)) return foreign_.Add(entry.name);
    stems_.insert(std::string(StemOf(entry.name)));
    if (entry.size == 0) return empty_.Add(entry.name);
    if (entry.method != 0 && entry.method != 8) odd_methods_.Add(entry.name);
    ++images_;
  }

  int images() const { return images_; }
  // Whether an entry's two names differ: Python's zipfile, and with it a trainer, opens no such
  // zip.
  bool misnamed() const { return misnamed_; }

  std::vector<std::string> Warnings(uint64_t directory_start) {
    for (const std::string& caption : captions_) {
      if (!stems_.contains(std::string(StemOf(caption)))) foreign_.Add(caption);
    }
    std::vector<std::string> warnings;
    const auto warn = [&](const Tally& tally, absl::string_view what) {
      if (tally.count > 0)
        warnings.push_back(absl::StrCat(tally.count, tally.count == 1 ? " entry " : " entries ",
                                        what, ", such as ", tally.example));
    };
    warn(outside_, "with a path that leaves the folder");
    warn(links_, "that are links");
    warn(encrypted_, "encrypted");
    warn(in_folders_, "in sub-folders, which Segmind does not look into");
    if (in_folders_.count == 0) warn(folders_, "that are empty folders");
    warn(archives_, "that are archives themselves");
    warn(foreign_, "that are neither images nor captions of one");
    warn(junk_, "that a desktop system left behind");
    warn(empty_, "without content");
    warn(odd_methods_, "packed in an uncommon way");
    warn(repeated_, "with a name that came before");
    warn(bombs_, "that unpack to very much more than they take");
    if (unpacked_ > kMaxUnpacked && bombs_.count == 0)
      warnings.push_back("the images unpack to more than 2 GiB");
    if (Overlap(directory_start))
      warnings.push_back(
          "entries overlap each other or reach out of the file: it is damaged, or "
          "made to harm who unpacks it");
    return warnings;
  }

 private:
  bool Overlap(uint64_t directory_start) {
    std::sort(extents_.begin(), extents_.end());
    uint64_t free_from = 0;
    for (const auto& [offset, size] : extents_) {
      if (offset < free_from || offset > file_size_ || size > file_size_) return true;
      free_from = offset + kLocalHeader + size;
    }
    return free_from > directory_start;
  }

  const uint64_t file_size_;
  int images_ = 0;
  bool misnamed_ = false;
  uint64_t unpacked_ = 0;
  std::vector<std::pair<uint64_t, uint64_t>> extents_;
  absl::flat_hash_set<std::string> names_;
  absl::flat_hash_set<std::string> stems_;  // Of the images.
  std::vector<std::string> captions_;
  Tally outside_, links_, encrypted_, in_folders_, folders_, archives_, foreign_, junk_, empty_,
      odd_methods_, repeated_, bombs_;
};

}  // namespace

DatasetInspector::DatasetInspector(int64_t size_bytes)
    : size_(std::max<int64_t>(size_bytes, 0)),
      kept_from_(std::max<int64_t>(0, size_ - static_cast<int64_t>(kKept))) {}

void DatasetInspector::Write(std::string_view bytes) {
  bytes = bytes.substr(0, static_cast<size_t>(size_ - seen_));
  if (head_.size() < 4) head_.append(bytes.substr(0, 4 - head_.size()));
  if (seen_ + static_cast<int64_t>(bytes.size()) > kept_from_) {
    const int64_t skipped = std::max<int64_t>(0, kept_from_ - seen_);
    if (tail_.empty()) tail_.reserve(static_cast<size_t>(size_ - kept_from_));
    tail_.append(bytes.substr(static_cast<size_t>(skipped)));
  }
  seen_ += static_cast<int64_t>(bytes.size());
}

void DatasetInspector::Skip(int64_t bytes) { seen_ = std::min(size_, seen_ + bytes); }

bool DatasetInspector::MayBeZip() const {
  // Including the start of an empty zip and of one in several parts.
  constexpr std::string_view kStarts[] = {"PK\3\4", "PK\5\6", "PK\7\10"};
  return std::any_of(std::begin(kStarts), std::end(kStarts), [&](std::string_view start) {
    return start.substr(0, head_.size()) == head_;
  });
}

DatasetFindings DatasetInspector::Finish() const {
  using Result = ZipDirectory::Result;
  DatasetFindings findings;
  auto& warnings = findings.warnings;
  // What makes training fail comes before what may make it worse.
  const auto fault = [&](std::string what) {
    if (findings.fault.empty()) findings.fault = what;
    if (findings.unusable.empty()) findings.unusable = what;
    warnings.push_back(std::move(what));
  };
  if (size_ >= kDatasetLimitBytes) {
    findings.fault = absl::StrCat("it has ", size_ >> 20, " MiB; Segmind takes datasets under ",
                                  kDatasetLimitBytes >> 20, " MB");
    warnings.push_back(findings.fault);
  }
  Survey survey(static_cast<uint64_t>(size_));
  const ZipDirectory directory =
      ReadZipDirectory(tail_, static_cast<uint64_t>(seen_),
                       [&survey](const ZipEntry& entry) { survey.Take(entry); });
  findings.image_count = survey.images();
  if (directory.result == Result::kNone) {
    fault(head_ == std::string_view("PK\3\4", 4)
              ? "the zip is cut off: it has no directory at its end"
              : "it is no zip");
    return findings;
  }
  if (directory.result == Result::kTooLong) {
    warnings.push_back("it has too many entries to look at them");
    return findings;
  }
  if (directory.result == Result::kDamaged)
    fault("the zip is damaged: its directory contradicts itself");
  if (directory.several_disks) fault("it is a part of a zip in several parts");
  if (directory.zip64)
    warnings.push_back("it is in the zip64 format, which datasets of this size do not need");
  if (findings.image_count == 0)
    fault("there are no images at its top level; Segmind will take it for empty");
  if (survey.misnamed())
    fault("it has names that are said to be UTF-8 and are not: Python does not open it");
  for (std::string& warning : survey.Warnings(directory.start))
    warnings.push_back(std::move(warning));
  return findings;
}

}  // namespace finetune
