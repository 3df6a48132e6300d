#include "server/store/copy_store.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/store/postgres_copy.h"
#include "server/store/record_copy.h"
#include "server/store/sqlite_copy.h"

namespace finetune {
namespace {

absl::StatusOr<std::unique_ptr<RecordSource>> OpenSource(const StorePlace& place) {
  return place.sqlite_path.empty() ? OpenPostgresSource(place.database)
                                   : OpenSqliteSource(place.sqlite_path);
}

absl::StatusOr<std::unique_ptr<RecordTarget>> OpenTarget(const StorePlace& place) {
  return place.sqlite_path.empty() ? OpenPostgresTarget(place.database)
                                   : OpenSqliteTarget(place.sqlite_path);
}

absl::Status PutAll(RecordSource& source, const RecordHead& head, RecordTarget& target) {
  RETURN_IF_ERROR(target.Begin(head));
  // Not before Begin: a target that has another record is refused, and the source must not change
  // then.
  RETURN_IF_ERROR(source.MarkUnderWay(target.name()));
  const auto put = [&](const auto& row) { return target.Put(row); };
  RETURN_IF_ERROR(source.ReadRecords(put));
  RETURN_IF_ERROR(source.ReadChanges(put));
  RETURN_IF_ERROR(source.ReadIntents(put));
  return source.ReadSpending(put);
}

// The target has nothing until the very end, so a failure leaves the record where it is.
absl::Status CopyAll(RecordSource& source, const RecordHead& head, RecordTarget& target) {
  if (absl::Status put = PutAll(source, head, target); !put.ok()) {
    if (absl::Status given_up = source.MarkUnderWay(""); !given_up.ok())
      return absl::Status(put.code(), absl::StrCat(put.message(), " (and ", source.name(),
                                                   " still says that it is being moved: run "
                                                   "copy-store again)"));
    return put;
  }
  absl::Status ended = target.End();
  if (ended.ok()) return ended;
  return absl::Status(ended.code(),
                      absl::StrCat(ended.message(),
                                   "; whether the record is there now will be known once the same "
                                   "copy-store was run again"));
}

}  // namespace

absl::Status CopyStore(const StorePlace& from, const StorePlace& to) {
  ASSIGN_OR_RETURN(const auto source, OpenSource(from));
  ASSIGN_OR_RETURN(const RecordHead head, source->Begin());
  ASSIGN_OR_RETURN(const auto target, OpenTarget(to));
  const std::string under_way_to = source->under_way_to();
  if (!under_way_to.empty() && under_way_to != target->name()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the record at ", source->name(), " was being moved to ", under_way_to,
                     ", which may have it: run copy-store to there again"));
  }
  bool is_there = false;
  if (!under_way_to.empty()) {
    ASSIGN_OR_RETURN(is_there, target->Has(head));
  }
  if (!is_there) RETURN_IF_ERROR(CopyAll(*source, head, *target));
  absl::Status marked = source->MarkMoved(target->name());
  if (marked.ok()) return marked;
  return absl::Status(
      marked.code(), absl::StrCat("the record is at ", target->name(), " now, but ", source->name(),
                                  " could not be marked as moved (", marked.message(),
                                  "): start no gateway on it any more"));
}

}  // namespace finetune
