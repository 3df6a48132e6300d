#include "server/store/sqlite_copy.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/store/moved_to.h"
#include "server/store/sqlite_ledger.h"
#include "server/store/sqlite_session.h"
#include "server/store/sqlite_store.h"
#include "server/store/store_mark.h"

namespace finetune {
namespace {

class SqliteSource : public RecordSource {
 public:
  explicit SqliteSource(std::unique_ptr<SqliteSession> session) : session_(std::move(session)) {}

  std::string name() const override { return absl::StrCat("sqlite:", session_->path); }
  absl::StatusOr<RecordHead> Begin() override;
  absl::Status ReadRecords(const TakeRow<StoredRecord>& take) override;
  absl::Status ReadChanges(const TakeRow<StoredChange>& take) override;
  absl::Status ReadIntents(const TakeRow<record::Intent>& take) override;
  absl::Status ReadSpending(const TakeRow<SpendingRow>& take) override;
  absl::Status MarkMoved(const std::string& to) override;
  std::string under_way_to() const override {
    return std::string(UnderWayTo(session_->meta.moved_to));
  }
  absl::Status MarkUnderWay(const std::string& to) override {
    return MarkMoved(to.empty() ? "" : MoveUnderWayTo(to));
  }

 private:
  template <typename Read>
  absl::Status ReadAll(const char* select, const Read& read) {
    SqliteStatement rows;
    if (SqliteError error = session_->db.Prepare(select, rows); !error.ok())
      return session_->Refusal(error);
    while (rows.Step()) RETURN_IF_ERROR(read(rows));
    const SqliteError error = rows.Reset();
    return error.ok() ? absl::OkStatus() : session_->Refusal(error);
  }

  // Holds the file's lock.
  const std::unique_ptr<SqliteSession> session_;
};

absl::StatusOr<RecordHead> SqliteSource::Begin() {
  RecordHead head{.epoch = session_->meta.epoch,
                  .seq = session_->meta.seq,
                  .revision = session_->meta.revision};
  RETURN_IF_ERROR(ReadAll("SELECT key FROM marker_key", [&](const SqliteStatement& row) {
    head.marker_key = row.Blob(0);
    return absl::OkStatus();
  }));
  if (head.marker_key.empty()) return session_->Damaged("it has no key for markers");
  ASSIGN_OR_RETURN(const Lineage lineage, session_->ReadEras());
  head.eras = lineage.eras();
  return head;
}

absl::Status SqliteSource::ReadRecords(const TakeRow<StoredRecord>& take) {
  return ReadAll("SELECT first_revision, id, record FROM fine_tunes ORDER BY first_revision",
                 [&](const SqliteStatement& row) -> absl::Status {
                   const std::string_view bytes = row.Blob(2);
                   record::FineTuneRecord record;
                   if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
                     return session_->Damaged("a fine-tune cannot be read");
                   return take({.first_revision = static_cast<uint64_t>(row.Number(0)),
                                .revision = record.fine_tune().revision(),
                                .id = std::string(row.Blob(1)),
                                .bytes = std::string(bytes)});
                 });
}

absl::Status SqliteSource::ReadChanges(const TakeRow<StoredChange>& take) {
  return ReadAll(
      "SELECT revision, time, id, after, before, forgotten FROM changes ORDER BY revision",
      [&](const SqliteStatement& row) {
        return take({.revision = static_cast<uint64_t>(row.Number(0)),
                     .time = absl::FromUnixNanos(row.Number(1)),
                     .fine_tune_id = std::string(row.Blob(2)),
                     .after = std::string(row.Blob(3)),
                     .before = std::string(row.Blob(4)),
                     .forgotten = row.Number(5) != 0});
      });
}

absl::Status SqliteSource::ReadIntents(const TakeRow<record::Intent>& take) {
  return ReadAll("SELECT intent FROM intents", [&](const SqliteStatement& row) -> absl::Status {
    const std::string_view bytes = row.Blob(0);
    record::Intent intent;
    if (!intent.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
      return session_->Damaged("a submission's intent cannot be read");
    return take(intent);
  });
}

absl::Status SqliteSource::ReadSpending(const TakeRow<SpendingRow>& take) {
  SpendingRows rows;
  bool whole = true;
  if (SqliteError error = SqliteLedger(*session_).Read({}, rows, whole); !error.ok())
    return session_->Refusal(error);
  if (!whole) return session_->Damaged("the spending cannot be read");
  for (const SpendingRow& row : rows) RETURN_IF_ERROR(take(row));
  return absl::OkStatus();
}

absl::Status SqliteSource::MarkMoved(const std::string& to) {
  session_->meta.moved_to = to;
  SqliteStatement mark;
  SqliteError error = session_->db.Prepare("UPDATE meta SET moved_to = ?1, sum = ?2", mark);
  if (error.ok()) error = mark.Bind(1, session_->meta.moved_to).Bind(2, session_->meta.Sum()).Run();
  return error.ok() ? absl::OkStatus() : session_->Refusal(error);
}

class SqliteTarget : public RecordTarget {
 public:
  explicit SqliteTarget(std::unique_ptr<SqliteSession> session) : session_(std::move(session)) {}
  // What is not committed is dropped.
  ~SqliteTarget() override = default;

  std::string name() const override { return absl::StrCat("sqlite:", session_->path); }
  absl::StatusOr<bool> Has(const RecordHead& head) override {
    return !IsEmpty() && session_->meta.epoch == head.epoch;
  }
  absl::Status Begin(const RecordHead& head) override;
  absl::Status Put(const StoredRecord& row) override;
  absl::Status Put(const StoredChange& row) override;
  absl::Status Put(const record::Intent& row) override;
  absl::Status Put(const SpendingRow& row) override;
  absl::Status End() override;

 private:
  absl::Status Check(const SqliteError& error) const {
    return error.ok() ? absl::OkStatus() : session_->Refusal(error);
  }
  bool IsEmpty() const { return session_->meta.seq == 0 && session_->meta.revision == 0; }

  const std::unique_ptr<SqliteSession> session_;
  SqliteMeta next_;
};

absl::Status SqliteTarget::Begin(const RecordHead& head) {
  SqliteSession& s = *session_;
  if (!IsEmpty()) return s.Refusal("has a record already: give another path");
  next_ = {.epoch = head.epoch, .revision = head.revision, .seq = head.seq};
  RETURN_IF_ERROR(Check(s.begin.Run()));
  RETURN_IF_ERROR(Check(s.db.Execute("DELETE FROM eras")));
  int64_t number = 0;
  for (const Era& era : head.eras) RETURN_IF_ERROR(Check(s.PutEra(++number, era)));
  SqliteStatement key, epoch;
  RETURN_IF_ERROR(Check(s.db.Prepare("UPDATE marker_key SET key = ?1", key)));
  RETURN_IF_ERROR(Check(key.BindBlob(1, head.marker_key).Run()));
  RETURN_IF_ERROR(Check(s.db.Prepare("UPDATE meta SET epoch = ?1", epoch)));
  return Check(epoch.Bind(1, head.epoch).Run());
}

absl::Status SqliteTarget::Put(const StoredRecord& row) {
  const auto first_revision = static_cast<int64_t>(row.first_revision);
  return Check(session_->PutRecord(first_revision, row.id, row.bytes, next_.digest));
}

absl::Status SqliteTarget::Put(const StoredChange& row) { return Check(session_->PutChange(row)); }

absl::Status SqliteTarget::Put(const record::Intent& row) {
  return Check(session_->PutIntent(row, next_.digest));
}

absl::Status SqliteTarget::Put(const SpendingRow& row) {
  next_.digest ^= SumOfSpending(row.first, row.second);
  return Check(BindSpending(session_->put_spending, row.first, row.second).Run());
}

absl::Status SqliteTarget::End() {
  SqliteSession& s = *session_;
  s.set_meta.Bind(1, static_cast<int64_t>(next_.revision))
      .Bind(2, static_cast<int64_t>(next_.seq))
      .Bind(3, next_.digest)
      .Bind(4, next_.lost)
      .Bind(5, next_.Sum());
  RETURN_IF_ERROR(Check(s.set_meta.Run()));
  return Check(s.commit.Run());
}

}  // namespace

absl::StatusOr<std::unique_ptr<RecordSource>> OpenSqliteSource(const std::string& path) {
  // Opening would create a missing file, and gateways would then start on an empty record.
  if (FileStamp::Of(path).size == 0)
    return absl::FailedPreconditionError(absl::StrCat("there is no record at sqlite:", path));
  {
    // Opening it as a gateway does finds whatever is wrong with it.
    ASSIGN_OR_RETURN(auto store, OpenSqliteStore(path, {.accept_unfinished_move = true}));
    ASSIGN_OR_RETURN(const StoreState state, store->Load());
    if (!state.lost.empty()) return absl::FailedPreconditionError(state.lost);
  }
  ASSIGN_OR_RETURN(auto session, SqliteSession::Open(path, /*create=*/false));
  return std::make_unique<SqliteSource>(std::move(session));
}

absl::StatusOr<std::unique_ptr<RecordTarget>> OpenSqliteTarget(const std::string& path) {
  if (FileStamp::Of(path).size == 0 && MarkFile(path + "-mark").Read()) {
    return absl::FailedPreconditionError(absl::StrCat("the file ", path,
                                                      "-mark says that there is a record at ", path,
                                                      " already: give another path"));
  }
  ASSIGN_OR_RETURN(auto session, SqliteSession::Open(path, /*create=*/true));
  return std::make_unique<SqliteTarget>(std::move(session));
}

}  // namespace finetune
