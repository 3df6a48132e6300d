#include "client/cpp/changing_file.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/read_file.h"

namespace finetune::inline client {
namespace {

// Within a tick of the file system's clock, a file may change again without a newer time.
constexpr int64_t kTickNanos = 2'000'000'000;

}  // namespace

ChangingFile::Stamp ChangingFile::StampOf(const struct stat& facts) {
  const int64_t changed = facts.st_mtim.tv_sec * 1'000'000'000 + facts.st_mtim.tv_nsec;
  return {facts.st_dev, facts.st_ino, facts.st_size, changed};
}

absl::Status ChangingFile::Look() {
  if (path_.empty() || read_once_) return absl::OkStatus();
  // The stamp is taken before the file is read, so that a change in between is noticed the next
  // time.
  struct stat facts = {};
  const bool found = ::stat(path_.c_str(), &facts) == 0;
  if (found && StampOf(facts) == stamp_) return absl::OkStatus();
  auto file = ReadFile(path_);
  if (!file.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", what_, " file: ", file.status().message()));
  }
  if (file->text.empty())
    return absl::InvalidArgumentError(absl::StrCat("the ", what_, " file ", path_, " is empty"));
  text_ = std::move(file->text);
  read_once_ = !file->lasting;
  stamp_ = StampOf(facts);
  // A file that has just been written is read once more.
  if (!found || absl::GetCurrentTimeNanos() - stamp_.changed_nanos < kTickNanos) stamp_ = {};
  return absl::OkStatus();
}

}  // namespace finetune::inline client
