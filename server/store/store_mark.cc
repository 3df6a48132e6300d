#include "server/store/store_mark.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/store/row_sum.h"

namespace finetune {
namespace {

constexpr absl::string_view kFormat = "finetune-gateway-mark-1";
// The mark always has this many bytes, so that each write replaces the one before it.
constexpr size_t kSize = 256;

int64_t SumOf(absl::string_view text) {
  return RowSum("mark").Add(std::string_view(text.data(), text.size())).value();
}

}  // namespace

std::string StoreMark::Encode() const {
  std::string text =
      absl::StrCat(kFormat, " ", epoch, " ", era, " ", seq, " ", revision, " ", file.device, " ",
                   file.inode, " ", file.size, " ", file.mtime_nanos);
  absl::StrAppend(&text, " ", SumOf(text));
  text.resize(kSize - 1, ' ');
  return text + "\n";
}

std::optional<StoreMark> StoreMark::Decode(const std::string& bytes) {
  const std::vector<std::string> words =
      absl::StrSplit(bytes, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  if (words.size() != 10 || words[0] != kFormat) return std::nullopt;
  StoreMark mark;
  mark.epoch = words[1];
  mark.file.exists = true;
  if (!absl::SimpleAtoi(words[2], &mark.era) || !absl::SimpleAtoi(words[3], &mark.seq) ||
      !absl::SimpleAtoi(words[4], &mark.revision) ||
      !absl::SimpleAtoi(words[5], &mark.file.device) ||
      !absl::SimpleAtoi(words[6], &mark.file.inode) ||
      !absl::SimpleAtoi(words[7], &mark.file.size) ||
      !absl::SimpleAtoi(words[8], &mark.file.mtime_nanos) || mark.Encode() != bytes) {
    return std::nullopt;
  }
  return mark;
}

MarkFile::~MarkFile() {
  if (file_ >= 0) close(file_);
}

std::optional<StoreMark> MarkFile::Read() const {
  const int file = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return std::nullopt;
  std::string bytes(kSize, '\0');
  const ssize_t got = pread(file, bytes.data(), bytes.size(), 0);
  close(file);
  bytes.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return StoreMark::Decode(bytes);
}

absl::Status MarkFile::Open() {
  if (file_ >= 0) close(file_);
  file_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
  if (file_ < 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("the file ", path_, " cannot be written: ", strerror(errno)));
  }
  stamp_ = FileStamp::OfOpen(file_);
  return absl::OkStatus();
}

absl::Status MarkFile::Write(const StoreMark& mark) {
  if (file_ < 0 || !FileStamp::Of(path_).SameFile(stamp_)) {
    if (absl::Status opened = Open(); !opened.ok()) return opened;
  }
  const std::string bytes = mark.Encode();
  if (pwrite(file_, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size())) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("the file ", path_, " cannot be written: ", strerror(errno)));
}

void MarkFile::Sync() {
  if (file_ >= 0) fdatasync(file_);
}

}  // namespace finetune
