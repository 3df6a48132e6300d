#include "server/store/sqlite_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/base/time_proto.h"
#include "server/store/sqlite_session.h"

namespace finetune {
namespace {

absl::Status Unavailable(const std::string& path, std::string_view why) {
  return Error(absl::StatusCode::kUnavailable, pb::ErrorReason::STORE_UNAVAILABLE,
               absl::StrCat("the store file ", path,
                            " cannot be used now: ", absl::string_view(why.data(), why.size())))
      .RetryAfter(absl::Seconds(1));
}

absl::Status Damaged(const std::string& path, std::string_view what) {
  return absl::DataLossError(absl::StrCat(
      "the store file ", path, " is damaged: ", absl::string_view(what.data(), what.size()),
      " cannot be read"));
}

class SqliteStore : public Store {
 public:
  explicit SqliteStore(std::unique_ptr<SqliteSession> session)
      : path_(session->path), epoch_(session->epoch), session_(std::move(session)) {}

  std::string_view system() const override { return "sqlite"; }
  absl::StatusOr<StoreState> Load() override;
  absl::Status Commit(const Batch& batch) override;
  absl::StatusOr<std::optional<record::Intent>> FindIntent(const std::string& caller,
                                                           const std::string& request_id) override;
  absl::StatusOr<CreateCount> CountCreates(const std::string& caller, absl::Time since) override;
  absl::Status CheckWritable() override;

 private:
  absl::Status Check(const SqliteError& error) const {
    return error.ok() ? absl::OkStatus() : Unavailable(path_, error.message);
  }
  absl::Status EnsureOpen();
  // Ends a transaction that failed.
  void RollBack();
  absl::Status Write(const Batch& batch);
  absl::Status WriteChange(const StoredChange& change, bool keep);
  absl::Status WriteIntents(const Batch& batch);
  absl::Status LoadRecords(StoreState& state);
  absl::Status LoadChanges(StoreState& state);
  absl::Status LoadIntents(StoreState& state);

  const std::string path_;
  const std::string epoch_;
  // Null after a failure that the connection did not survive.
  std::unique_ptr<SqliteSession> session_;
};

absl::Status SqliteStore::EnsureOpen() {
  if (session_ == nullptr) {
    auto session = SqliteSession::Open(path_, /*create=*/false);
    if (!session.ok()) {
      return Unavailable(path_, std::string_view(session.status().message().data(),
                                                 session.status().message().size()));
    }
    if ((*session)->epoch != epoch_) return Unavailable(path_, "it was replaced while in use");
    session_ = *std::move(session);
  }
  return session_->CheckFile();
}

void SqliteStore::RollBack() {
  if (session_->db.InTransaction() && !session_->db.Execute("ROLLBACK").ok()) session_.reset();
}

absl::Status SqliteStore::Commit(const Batch& batch) {
  RETURN_IF_ERROR(EnsureOpen());
  absl::Status status = Write(batch);
  if (!status.ok()) RollBack();
  return status;
}

absl::Status SqliteStore::Write(const Batch& batch) {
  SqliteSession& s = *session_;
  RETURN_IF_ERROR(Check(s.begin.Run()));
  uint64_t revision = 0;
  if (s.get_meta.Step()) revision = static_cast<uint64_t>(s.get_meta.Number(1));
  RETURN_IF_ERROR(Check(s.get_meta.Reset()));
  if (revision != batch.base_revision) {
    return absl::AbortedError(
        absl::StrCat("the store is at revision ", revision, " and not at ", batch.base_revision));
  }
  for (const StoredChange& change : batch.changes) {
    if (change.revision != ++revision) {
      return absl::InternalError(
          absl::StrCat("revision ", change.revision, " instead of ", revision, " in a batch"));
    }
    RETURN_IF_ERROR(WriteChange(change, revision > batch.forget_changes_through));
  }
  if (!batch.changes.empty()) {
    RETURN_IF_ERROR(Check(s.set_revision.Bind(1, static_cast<int64_t>(revision)).Run()));
  }
  if (batch.forget_changes_through > 0) {
    s.forget_changes.Bind(1, static_cast<int64_t>(batch.forget_changes_through));
    RETURN_IF_ERROR(Check(s.forget_changes.Run()));
  }
  RETURN_IF_ERROR(WriteIntents(batch));
  return Check(s.commit.Run());
}

absl::Status SqliteStore::WriteChange(const StoredChange& change, bool keep) {
  SqliteSession& s = *session_;
  if (change.before.empty()) {
    s.insert_fine_tune.Bind(1, static_cast<int64_t>(change.revision)).Bind(2, change.fine_tune_id);
    RETURN_IF_ERROR(Check(s.insert_fine_tune.BindBlob(3, change.after).Run()));
  } else {
    s.update_fine_tune.Bind(1, change.fine_tune_id).BindBlob(2, change.after);
    RETURN_IF_ERROR(Check(s.update_fine_tune.Run()));
    if (s.db.RowsChanged() != 1) {
      return absl::InternalError(
          absl::StrCat("fine-tune ", change.fine_tune_id, " changed and is not in the store"));
    }
  }
  if (!keep) return absl::OkStatus();
  s.insert_change.Bind(1, static_cast<int64_t>(change.revision))
      .Bind(2, absl::ToUnixNanos(change.time))
      .Bind(3, change.fine_tune_id)
      .BindBlob(4, change.after);
  if (!change.before.empty()) s.insert_change.BindBlob(5, change.before);
  return Check(s.insert_change.Run());
}

absl::Status SqliteStore::WriteIntents(const Batch& batch) {
  SqliteSession& s = *session_;
  for (const record::Intent& intent : batch.put_intents) {
    const std::string bytes = intent.SerializeAsString();
    s.put_intent.Bind(1, intent.caller())
        .Bind(2, intent.request_id())
        .Bind(3, intent.state())
        .Bind(4, intent.marker())
        .BindBlob(6, bytes)
        .Bind(7, absl::ToUnixNanos(FromProto(intent.create_time())));
    if (intent.has_settle_time()) {
      const auto& time = intent.settle_time();
      s.put_intent.Bind(5, time.seconds() * 1'000'000'000 + time.nanos());
    }
    RETURN_IF_ERROR(Check(s.put_intent.Run()));
  }
  for (const auto& [caller, request_id] : batch.delete_intents) {
    RETURN_IF_ERROR(Check(s.delete_intent.Bind(1, caller).Bind(2, request_id).Run()));
  }
  if (batch.forget_intents_before == absl::InfinitePast()) return absl::OkStatus();
  return Check(s.forget_intents.Bind(1, absl::ToUnixNanos(batch.forget_intents_before)).Run());
}

absl::StatusOr<StoreState> SqliteStore::Load() {
  RETURN_IF_ERROR(EnsureOpen());
  StoreState state;
  state.epoch = epoch_;
  SqliteStatement& meta = session_->get_meta;
  if (meta.Step()) state.revision = static_cast<uint64_t>(meta.Number(1));
  RETURN_IF_ERROR(Check(meta.Reset()));
  RETURN_IF_ERROR(LoadRecords(state));
  RETURN_IF_ERROR(LoadChanges(state));
  RETURN_IF_ERROR(LoadIntents(state));
  return state;
}

absl::Status SqliteStore::LoadRecords(StoreState& state) {
  int64_t count = 0;
  RETURN_IF_ERROR(Check(session_->db.Query("SELECT count(*) FROM fine_tunes", count)));
  state.records.reserve(static_cast<size_t>(count));
  SqliteStatement select;
  RETURN_IF_ERROR(
      Check(session_->db.Prepare("SELECT record FROM fine_tunes ORDER BY first_revision", select)));
  while (select.Step()) state.records.emplace_back(select.Blob(0));
  return Check(select.Reset());
}

absl::Status SqliteStore::LoadChanges(StoreState& state) {
  SqliteStatement select;
  RETURN_IF_ERROR(Check(session_->db.Prepare(
      "SELECT revision, time, id, after, before FROM changes ORDER BY revision", select)));
  while (select.Step()) {
    StoredChange& change = state.changes.emplace_back();
    change.revision = static_cast<uint64_t>(select.Number(0));
    change.time = absl::FromUnixNanos(select.Number(1));
    change.fine_tune_id = select.Blob(2);
    change.after = select.Blob(3);
    change.before = select.Blob(4);
  }
  RETURN_IF_ERROR(Check(select.Reset()));
  const uint64_t first = state.revision - state.changes.size() + 1;
  for (size_t i = 0; i < state.changes.size(); ++i) {
    if (state.changes[i].revision != first + i) return Damaged(path_, "the log of changes");
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::LoadIntents(StoreState& state) {
  SqliteStatement select;
  RETURN_IF_ERROR(
      Check(session_->db.Prepare("SELECT intent FROM intents WHERE state < 3", select)));
  while (select.Step()) {
    const std::string_view bytes = select.Blob(0);
    if (!state.unsettled_intents.emplace_back().ParseFromArray(bytes.data(),
                                                               static_cast<int>(bytes.size()))) {
      return Damaged(path_, "a submission's intent");
    }
  }
  return Check(select.Reset());
}

absl::StatusOr<std::optional<record::Intent>> SqliteStore::FindIntent(
    const std::string& caller, const std::string& request_id) {
  RETURN_IF_ERROR(EnsureOpen());
  SqliteStatement& find = session_->find_intent;
  std::optional<record::Intent> intent;
  bool readable = true;
  if (find.Bind(1, caller).Bind(2, request_id).Step()) {
    const std::string_view bytes = find.Blob(0);
    readable = intent.emplace().ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  }
  RETURN_IF_ERROR(Check(find.Reset()));
  if (!readable) return Damaged(path_, "a submission's intent");
  return intent;
}

absl::StatusOr<CreateCount> SqliteStore::CountCreates(const std::string& caller, absl::Time since) {
  RETURN_IF_ERROR(EnsureOpen());
  SqliteStatement& select = session_->count_creates;
  CreateCount creates;
  if (select.Bind(1, caller).Bind(2, absl::ToUnixNanos(since)).Step()) {
    creates.count = select.Number(0);
    if (creates.count > 0) creates.oldest = absl::FromUnixNanos(select.Number(1));
  }
  RETURN_IF_ERROR(Check(select.Reset()));
  return creates;
}

absl::Status SqliteStore::CheckWritable() {
  RETURN_IF_ERROR(EnsureOpen());
  const SqliteError error =
      session_->db.Execute("BEGIN IMMEDIATE; UPDATE meta SET revision = revision; COMMIT");
  if (!error.ok()) RollBack();
  return Check(error);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path) {
  auto session = SqliteSession::Open(path, /*create=*/true);
  if (!session.ok()) return session.status();
  return std::make_unique<SqliteStore>(*std::move(session));
}

}  // namespace finetune
