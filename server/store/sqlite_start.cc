#include "server/store/sqlite_start.h"

#include "absl/strings/str_cat.h"

namespace finetune {
namespace {

constexpr absl::string_view kAccept =
    "start once with --accept_lost_record to go on with what there is";

bool Reaches(const SqliteSession& session, const Lineage& lineage, const StoreMark& mark) {
  return mark.epoch == session.meta.epoch && lineage.HasSeq(mark.era, mark.seq, session.meta.seq);
}

}  // namespace

absl::Status CheckRecordIsThere(const std::string& path, const std::optional<StoreMark>& mark,
                                const SqliteOptions& options) {
  if (!mark || options.accept_lost_record) return absl::OkStatus();
  const FileStamp file = FileStamp::Of(path);
  if (file.exists && file.size > 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the store file ", path, file.exists ? " is empty" : " is missing", ", and ", path,
      "-mark says that there was one with ", mark->revision, " changes: put it back, or ", kAccept,
      " (submissions that it knew could then be made, and billed, once more)"));
}

absl::StatusOr<std::string> JudgeRecord(const SqliteSession& session, const Lineage& lineage,
                                        const std::optional<StoreMark>& mark,
                                        const SqliteOptions& options) {
  if (options.accept_lost_record) return std::string();
  if (!mark || Reaches(session, lineage, *mark)) return session.meta.lost;
  if (session.file() == mark->file) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the store file ", session.path, " lacks what was committed last: it ends at commit ",
        session.meta.seq, ", and ", session.path, "-mark says ", mark->seq,
        ", so its -wal file was removed or damaged; put back the latest copy of both, or ", kAccept,
        " (submissions of the lost commits could then be made, and billed, once more)"));
  }
  return absl::StrCat("the store file ", session.path, " is an older copy that was put back, and ",
                      session.path, "-mark says that commits are missing from it: submissions are ",
                      "refused because they may have been made before; ", kAccept);
}

}  // namespace finetune
