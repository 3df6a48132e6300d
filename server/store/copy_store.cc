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

}  // namespace

absl::Status CopyStore(const StorePlace& from, const StorePlace& to) {
  ASSIGN_OR_RETURN(const auto source, OpenSource(from));
  ASSIGN_OR_RETURN(const RecordHead head, source->Begin());
  ASSIGN_OR_RETURN(const auto target, OpenTarget(to));
  RETURN_IF_ERROR(target->Begin(head));
  const auto put = [&](const auto& row) { return target->Put(row); };
  RETURN_IF_ERROR(source->ReadRecords(put));
  RETURN_IF_ERROR(source->ReadChanges(put));
  RETURN_IF_ERROR(source->ReadIntents(put));
  RETURN_IF_ERROR(source->ReadSpending(put));
  RETURN_IF_ERROR(target->End());
  const absl::Status marked = source->MarkMoved(target->name());
  if (marked.ok()) return marked;
  return absl::Status(
      marked.code(), absl::StrCat("the record is at ", target->name(), " now, but ", source->name(),
                                  " could not be marked as moved (", marked.message(),
                                  "): start no gateway on it any more"));
}

}  // namespace finetune
