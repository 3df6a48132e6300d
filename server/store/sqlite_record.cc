#include "server/store/sqlite_record.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace finetune {

absl::Status SqliteRecord::Write(const StoreBatch& batch, SqliteMeta& next) {
  for (const StoredChange& change : batch.changes) {
    if (change.revision != ++next.revision) {
      return absl::InternalError(
          absl::StrCat("revision ", change.revision, " instead of ", next.revision, " in a batch"));
    }
    RETURN_IF_ERROR(WriteChange(change, next.revision > batch.forget_changes_through, next.digest));
  }
  if (batch.forget_changes_through > 0) {
    s_.forget_changes.Bind(1, static_cast<int64_t>(batch.forget_changes_through));
    RETURN_IF_ERROR(s_.Check(s_.forget_changes.Run()));
  }
  for (const record::Intent& intent : batch.put_intents)
    RETURN_IF_ERROR(WriteIntent(intent, next.digest));
  RETURN_IF_ERROR(Forget(s_.forget_intents, batch.forget_intents_before, next.digest));
  return Forget(s_.forget_refusals, batch.forget_refusals_before, next.digest);
}

absl::Status SqliteRecord::WriteChange(const StoredChange& change, bool keep, int64_t& digest) {
  RETURN_IF_ERROR(WriteRecord(change, digest));
  return keep ? s_.Check(s_.PutChange(change)) : absl::OkStatus();
}

absl::Status SqliteRecord::WriteRecord(const StoredChange& change, int64_t& digest) {
  const std::string& id = change.fine_tune_id;
  if (change.before.empty() && !change.forgotten) {
    return s_.Check(s_.PutRecord(static_cast<int64_t>(change.revision), id, change.after, digest));
  }
  const bool found = s_.find_fine_tune.Bind(1, id).Step();
  const int64_t first_revision = found ? s_.find_fine_tune.Number(0) : 0;
  const int64_t old_sum = found ? s_.find_fine_tune.Number(1) : 0;
  RETURN_IF_ERROR(s_.Check(s_.find_fine_tune.Reset()));
  if (!found) {
    return absl::InternalError(absl::StrCat("fine-tune ", id, " changed and is not in the store"));
  }
  digest ^= old_sum;
  if (change.forgotten) return s_.Check(s_.delete_fine_tune.Bind(1, first_revision).Run());
  const int64_t sum = SumOfRecord(first_revision, id, change.after);
  digest ^= sum;
  s_.update_fine_tune.Bind(1, first_revision).BindBlob(2, change.after).Bind(3, sum);
  return s_.Check(s_.update_fine_tune.Run());
}

absl::Status SqliteRecord::WriteIntent(const record::Intent& intent, int64_t& digest) {
  if (s_.find_intent.Bind(1, intent.caller()).Bind(2, intent.request_id()).Step())
    digest ^= s_.find_intent.Number(1);
  RETURN_IF_ERROR(s_.Check(s_.find_intent.Reset()));
  return s_.Check(s_.PutIntent(intent, digest));
}

absl::Status SqliteRecord::Forget(SqliteStatement& statement, absl::Time before, int64_t& digest) {
  if (before == absl::InfinitePast()) return absl::OkStatus();
  statement.Bind(1, absl::ToUnixNanos(before));
  while (statement.Step()) digest ^= statement.Number(0);
  return s_.Check(statement.Reset());
}

absl::Status SqliteRecord::Load(StoreState& state, int64_t& digest) {
  SqliteStatement key;
  RETURN_IF_ERROR(s_.Check(s_.db.Prepare("SELECT key FROM marker_key", key)));
  if (key.Step()) state.marker_key = key.Blob(0);
  RETURN_IF_ERROR(s_.Check(key.Reset()));
  RETURN_IF_ERROR(LoadRecords(state, digest));
  return LoadIntents(state, digest);
}

absl::Status SqliteRecord::LoadRecords(StoreState& state, int64_t& digest) {
  int64_t count = 0;
  RETURN_IF_ERROR(s_.Check(s_.db.Query("SELECT count(*) FROM fine_tunes", count)));
  state.records.reserve(static_cast<size_t>(count));
  SqliteStatement select;
  RETURN_IF_ERROR(s_.Check(s_.db.Prepare(
      "SELECT first_revision, id, record, sum FROM fine_tunes ORDER BY first_revision", select)));
  bool whole = true;
  while (select.Step()) {
    const int64_t sum = select.Number(3);
    whole = whole && sum == SumOfRecord(select.Number(0), select.Blob(1), select.Blob(2));
    digest ^= sum;
    state.records.emplace_back(select.Blob(2));
  }
  RETURN_IF_ERROR(s_.Check(select.Reset()));
  return s_.CheckWhole(whole, "a fine-tune");
}

absl::Status SqliteRecord::LoadChanges(StoreState& state) {
  SqliteStatement select;
  RETURN_IF_ERROR(s_.Check(s_.db.Prepare(
      "SELECT revision, time, id, after, before, forgotten, sum FROM changes ORDER BY revision",
      select)));
  bool whole = true;
  while (select.Step()) {
    StoredChange& change = state.changes.emplace_back();
    change.revision = static_cast<uint64_t>(select.Number(0));
    change.time = absl::FromUnixNanos(select.Number(1));
    change.fine_tune_id = select.Blob(2);
    change.after = select.Blob(3);
    change.before = select.Blob(4);
    change.forgotten = select.Number(5) != 0;
    whole = whole &&
            select.Number(6) == SumOfChange(select.Number(0), select.Number(1), change.fine_tune_id,
                                            change.after, change.before, change.forgotten);
  }
  RETURN_IF_ERROR(s_.Check(select.Reset()));
  const uint64_t first = s_.meta.revision - state.changes.size() + 1;
  for (size_t i = 0; i < state.changes.size() && whole; ++i)
    whole = state.changes[i].revision == first + i;
  return s_.CheckWhole(whole, "the log of changes");
}

// All of them are checked, because each may be asked for later.
absl::Status SqliteRecord::LoadIntents(StoreState& state, int64_t& digest) {
  SqliteStatement select;
  RETURN_IF_ERROR(s_.Check(s_.db.Prepare(
      "SELECT caller, request_id, state, settle_time, create_time, intent, sum FROM intents",
      select)));
  bool whole = true;
  while (whole && select.Step()) {
    record::Intent intent;
    const std::string_view bytes = select.Blob(5);
    const int64_t sum = select.Number(6);
    whole = sum == SumOfIntent(select.Blob(0), select.Blob(1), bytes) &&
            intent.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
    const IntentColumns columns(intent);
    whole = whole && select.Blob(0) == intent.caller() && select.Blob(1) == intent.request_id() &&
            select.Number(2) == columns.state && select.Number(4) == columns.create_time &&
            select.Number(3) == columns.settle_time.value_or(0);
    digest ^= sum;
    if (columns.state < record::Intent::ACCEPTED)
      state.unsettled_intents.push_back(std::move(intent));
  }
  RETURN_IF_ERROR(s_.Check(select.Reset()));
  return s_.CheckWhole(whole, "a submission's intent");
}

absl::StatusOr<std::optional<record::Intent>> SqliteRecord::FindIntent(
    const std::string& caller, const std::string& request_id) {
  SqliteStatement& find = s_.find_intent;
  std::optional<record::Intent> intent;
  bool whole = true;
  if (find.Bind(1, caller).Bind(2, request_id).Step()) {
    const std::string_view bytes = find.Blob(0);
    whole = find.Number(1) == SumOfIntent(caller, request_id, bytes) &&
            intent.emplace().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  }
  RETURN_IF_ERROR(s_.Check(find.Reset()));
  if (!whole)
    return SqliteUnavailable(s_.path, "it is damaged: a submission's intent cannot be read");
  return intent;
}

absl::StatusOr<CreateCount> SqliteRecord::CountCreates(const std::string& caller,
                                                       absl::Time since) {
  SqliteStatement& select = s_.count_creates;
  CreateCount creates;
  if (select.Bind(1, caller).Bind(2, absl::ToUnixNanos(since)).Step()) {
    creates.count = select.Number(0);
    if (creates.count > 0) creates.oldest = absl::FromUnixNanos(select.Number(1));
  }
  RETURN_IF_ERROR(s_.Check(select.Reset()));
  return creates;
}

}  // namespace finetune
